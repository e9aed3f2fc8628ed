//! Which columns of Parquet files are worth a dictionary, as the files written before tell.
//!
//! A dictionary makes columns small whose values repeat. Where they do not, each value is looked up in a table that has
//! long left the processor's cache, for a file that gets no smaller: dictionaries are most of what it costs to write
//! such a file. The encoder must know before the first row, so the last file of the sink decides for the next ones, and
//! what was chosen is tried again from time to time, because data changes. Readers see the two encodings that all of
//! them know; which of them a file has says nothing about its rows. A run begins with dictionaries.

use std::collections::HashMap;

use headwater_core::Epoch;
use parking_lot::Mutex;
use parquet::{
    basic::{Compression, Type},
    file::{
        metadata::{ColumnChunkMetaData, ParquetMetaData},
        properties::WriterProperties,
    },
    schema::types::ColumnPath,
};

/// Epochs for which a choice counts.
const EPOCHS: u64 = 32;

/// Values from which on a file tells anything: smaller tables stay in a cache, and headers make up much of the pages.
const LEAST_VALUES: i64 = 1 << 14;

/// Files with so many times more or fewer values are not comparable.
const COMPARABLE: i64 = 4;

/// How much larger than with a dictionary a column without one may get before the dictionary is taken back.
const TOLERATED: f64 = 1.05;

/// What the files of one sink have told of their columns.
#[derive(Debug, Default)]
pub(super) struct Dictionaries {
    columns: Mutex<HashMap<ColumnPath, Choice>>,
}

/// What was chosen for a column.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Choice {
    dictionary: bool,
    /// Whether it counts for some epochs, or for the next only.
    lasts: bool,
    made_in: Epoch,
    /// Values of the file that it was made from,
    values: i64,
    /// and stored bytes for each of them, with a dictionary.
    with_dictionary: f64,
}

/// One column of one file.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Written {
    has_dictionary: bool,
    values: i64,
    /// Encoded, before compression.
    encoded: i64,
    /// In the file.
    stored: i64,
    /// Encoded value by value.
    plain: i64,
}

impl Dictionaries {
    /// `properties` for a file of this epoch.
    pub(super) fn properties(
        &self,
        properties: &WriterProperties,
        epoch: Epoch,
    ) -> WriterProperties {
        let columns = self.columns.lock();
        let mut builder = properties.clone().into_builder();
        for (column, choice) in columns.iter() {
            if !choice.dictionary && choice.counts_in(epoch) {
                builder = builder.set_column_dictionary_enabled(column.clone(), false);
            }
        }
        builder.build()
    }

    /// Takes note of a file of this epoch.
    pub(super) fn learn(
        &self,
        file: &ParquetMetaData,
        properties: &WriterProperties,
        epoch: Epoch,
    ) {
        let mut columns = self.columns.lock();
        for (column, written) in columns_of(file) {
            let is_compressed = properties.compression(&column) != Compression::UNCOMPRESSED;
            let before = columns.get(&column).copied();
            match chosen(before, &written, is_compressed, epoch) {
                Some(choice) => columns.insert(column, choice),
                None => columns.remove(&column),
            };
        }
    }
}

impl Choice {
    fn counts_in(&self, epoch: Epoch) -> bool {
        self.lasts && epoch.0 < self.made_in.0 + EPOCHS
    }
}

/// What to do with a column from now on; `None` for a dictionary that the next file judges.
fn chosen(
    before: Option<Choice>,
    written: &Written,
    is_compressed: bool,
    epoch: Epoch,
) -> Option<Choice> {
    if written.values < LEAST_VALUES || written.plain == 0 {
        return before;
    }
    let stored = written.stored as f64 / written.values as f64;
    let choice = Choice {
        dictionary: true,
        lasts: true,
        made_in: epoch,
        values: written.values,
        with_dictionary: stored,
    };
    match before {
        // Of the files of an epoch, which may be of different folders, the largest decides.
        Some(before) if before.made_in == epoch && written.values < before.values => Some(before),
        Some(before) if before.dictionary && before.counts_in(epoch) => Some(before),
        _ if written.has_dictionary => {
            let pays = written.pays(is_compressed);
            Some(Choice {
                dictionary: pays,
                lasts: !pays,
                ..choice
            })
        }
        Some(before) if !before.dictionary => {
            if written.values > COMPARABLE * before.values {
                return None;
            }
            let is_comparable = COMPARABLE * written.values >= before.values;
            let grew = is_comparable && stored > TOLERATED * before.with_dictionary;
            Some(if grew {
                Choice {
                    dictionary: true,
                    made_in: epoch,
                    ..before
                }
            } else {
                before
            })
        }
        // Of a type that has no dictionaries.
        before => before,
    }
}

impl Written {
    /// Whether the dictionary made the column smaller. Compression finds most of what it saves as well, so that before
    /// compression it has to save half.
    fn pays(&self, is_compressed: bool) -> bool {
        let bound = if is_compressed {
            self.plain / 2
        } else {
            self.plain
        };
        self.encoded < bound
    }

    fn and(&self, chunk: &ColumnChunkMetaData) -> Self {
        Self {
            has_dictionary: self.has_dictionary || chunk.dictionary_page_offset().is_some(),
            values: self.values + chunk.num_values(),
            encoded: self.encoded + chunk.uncompressed_size(),
            stored: self.stored + chunk.compressed_size(),
            plain: self.plain + plain_size(chunk),
        }
    }
}

fn columns_of(file: &ParquetMetaData) -> HashMap<ColumnPath, Written> {
    let mut columns: HashMap<ColumnPath, Written> = HashMap::new();
    for chunk in file.row_groups().iter().flat_map(|group| group.columns()) {
        let column = columns.entry(chunk.column_path().clone()).or_default();
        *column = column.and(chunk);
    }
    columns
}

/// Bytes of a chunk's values one after the other.
fn plain_size(chunk: &ColumnChunkMetaData) -> i64 {
    let nulls = chunk.statistics().and_then(|it| it.null_count_opt());
    let values = chunk.num_values() - nulls.map_or(0, |nulls| nulls.cast_signed());
    match chunk.column_type() {
        Type::BOOLEAN => values / 8,
        Type::INT32 | Type::FLOAT => 4 * values,
        Type::INT64 | Type::DOUBLE => 8 * values,
        Type::INT96 => 12 * values,
        // A length stands before each of them.
        Type::BYTE_ARRAY => 4 * values + chunk.unencoded_byte_array_data_bytes().unwrap_or(0),
        Type::FIXED_LEN_BYTE_ARRAY => i64::from(chunk.column_descr().type_length().max(0)) * values,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::{
        array::{ArrayRef, Int64Array, RecordBatch, StringArray, StructArray},
        datatypes::{DataType, Field, Fields},
    };
    use parquet::arrow::ArrowWriter;

    use super::*;

    /// As many values, of 10 bytes in the file each with a dictionary and of 16 without compression.
    const VALUES: i64 = 100_000;

    fn with_dictionary(encoded: i64) -> Written {
        Written {
            has_dictionary: true,
            values: VALUES,
            encoded: encoded * VALUES,
            stored: 10 * VALUES,
            plain: 16 * VALUES,
        }
    }

    fn without(stored_of_hundred: i64) -> Written {
        Written {
            has_dictionary: false,
            values: VALUES,
            encoded: 16 * VALUES,
            stored: stored_of_hundred * VALUES / 100,
            plain: 16 * VALUES,
        }
    }

    /// The same column in a file of another length.
    fn times(written: Written, numerator: i64, denominator: i64) -> Written {
        let scaled = |value: i64| value * numerator / denominator;
        Written {
            has_dictionary: written.has_dictionary,
            values: scaled(written.values),
            encoded: scaled(written.encoded),
            stored: scaled(written.stored),
            plain: scaled(written.plain),
        }
    }

    /// Whether files of these epochs have a dictionary, if they find it one way or the other.
    fn epochs(
        mut choice: Option<Choice>,
        epochs: std::ops::Range<u64>,
        with: Written,
        without: Written,
    ) -> (Option<Choice>, Vec<bool>) {
        let had = epochs.map(|epoch| {
            let epoch = Epoch(epoch);
            let dictionary = choice.is_none_or(|it| it.dictionary || !it.counts_in(epoch));
            let written = if dictionary { with } else { without };
            choice = chosen(choice, &written, true, epoch);
            dictionary
        });
        let had = had.collect();
        (choice, had)
    }

    #[test]
    fn a_dictionary_goes_where_it_does_not_halve_what_is_compressed() {
        let is_kept = |encoded, is_compressed| {
            let written = with_dictionary(encoded);
            chosen(None, &written, is_compressed, Epoch(3))
                .unwrap()
                .dictionary
        };
        assert!(is_kept(7, true) && !is_kept(8, true));
        assert!(is_kept(15, false) && !is_kept(16, false));
        // Types that never have one tell nothing.
        assert_eq!(chosen(None, &without(900), true, Epoch(3)), None);
    }

    #[test]
    fn it_is_tried_again_after_some_epochs() {
        let (_, had) = epochs(None, 0..70, with_dictionary(12), without(900));
        let tried: Vec<usize> = (0..had.len()).filter(|epoch| had[*epoch]).collect();
        assert_eq!(tried, [0, 32, 64]);
    }

    #[test]
    fn it_comes_back_where_the_file_grew_without_it() {
        let (_, had) = epochs(None, 0..4, with_dictionary(12), without(1_050));
        assert_eq!(had, [true, false, false, false]);
        let (_, had) = epochs(None, 0..70, with_dictionary(12), without(1_051));
        // What is known to pay is not tried again at once either.
        let without_one: Vec<usize> = (0..had.len()).filter(|epoch| !had[*epoch]).collect();
        assert_eq!(without_one, [1, 34, 67]);
    }

    #[test]
    fn files_that_cannot_be_compared_do_not_decide() {
        let (choice, _) = epochs(None, 0..1, with_dictionary(12), without(900));
        let kept = |written: Written| chosen(choice, &written, true, Epoch(1));
        // Too few values, none but NULL, or much fewer than before.
        assert_eq!(kept(times(without(2_000), 1, 10)), choice);
        assert_eq!(
            kept(Written {
                plain: 0,
                ..without(2_000)
            }),
            choice
        );
        assert_eq!(kept(times(without(2_000), 6, 25)), choice);
        assert_ne!(kept(times(without(2_000), 7, 25)), choice);
        // Far more: the next one is to say.
        assert_eq!(kept(times(without(900), 4, 1)), choice);
        assert_eq!(kept(times(without(900), 5, 1)), None);
    }

    #[test]
    fn of_an_epochs_files_the_largest_decides() {
        for (first, second) in [(1, 2), (2, 1)] {
            let mut choice = None;
            for size in [first, second] {
                let written = with_dictionary(if size == 2 { 12 } else { 1 });
                choice = chosen(choice, &times(written, size, 1), true, Epoch(5));
            }
            assert!(!choice.unwrap().dictionary);
        }
    }

    #[test]
    fn the_next_file_has_dictionaries_where_the_last_one_gained_by_them() {
        let rows: i64 = 20_000;
        let member = Arc::new(Field::new("distinct", DataType::Int64, true));
        let inner =
            Int64Array::from_iter((0..rows).map(|row| (row % 3 > 0).then_some(row * 7_919)));
        let inner = StructArray::new(Fields::from(vec![member]), vec![Arc::new(inner)], None);
        let texts = |of: i64| (0..rows).map(move |row| format!("text {}", row % of));
        let columns: Vec<(&str, ArrayRef)> = vec![
            (
                "few",
                Arc::new(Int64Array::from_iter_values((0..rows).map(|row| row % 5))),
            ),
            ("struct", Arc::new(inner)),
            (
                "few texts",
                Arc::new(StringArray::from_iter_values(texts(7))),
            ),
            (
                "texts",
                Arc::new(StringArray::from_iter_values(texts(rows))),
            ),
        ];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let base = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .build();
        let dictionaries = Dictionaries::default();
        let file = |epoch| {
            let properties = dictionaries.properties(&base, Epoch(epoch));
            let mut writer =
                ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties)).unwrap();
            writer.write(&batch).unwrap();
            let written = writer.finish().unwrap();
            dictionaries.learn(&written, &base, Epoch(epoch));
            let chunks = written.row_group(0).columns().iter();
            chunks
                .map(|chunk| chunk.dictionary_page_offset().is_some())
                .collect::<Vec<_>>()
        };
        assert_eq!(file(0), [true, true, true, true]);
        assert_eq!(file(1), [true, false, true, false]);
        for (column, written) in columns_of(&{
            let mut writer = ArrowWriter::try_new(
                Vec::new(),
                batch.schema(),
                Some(
                    WriterProperties::builder()
                        .set_dictionary_enabled(false)
                        .build(),
                ),
            )
            .unwrap();
            writer.write(&batch).unwrap();
            writer.finish().unwrap()
        }) {
            // But for headers of pages and what says where nulls are.
            let more = written.encoded - written.plain;
            assert!((0..rows / 5).contains(&more), "{column:?}: {written:?}");
        }
    }
}
