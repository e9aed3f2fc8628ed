//! CSV: what is written is read again, and no bytes do harm.

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, Int64Array, StringArray, StructArray,
};
use datafusion::arrow::datatypes::{DataType, Field};
use datafusion::prelude::col;
use proptest::prelude::*;

use super::calls::{evaluate, over_texts};
use super::plain::all;
use crate::expr::{from_csv, from_csv_with, to_csv, to_csv_with};

fn structs(rows: &[(Option<i64>, Option<String>)]) -> ArrayRef {
    let numbers: ArrayRef = Arc::new(rows.iter().map(|row| row.0).collect::<Int64Array>());
    let texts: ArrayRef = Arc::new(
        rows.iter()
            .map(|row| row.1.clone())
            .collect::<StringArray>(),
    );
    Arc::new(StructArray::from(vec![
        (Arc::new(Field::new("s", DataType::Utf8, true)), texts),
        (Arc::new(Field::new("n", DataType::Int64, true)), numbers),
    ]))
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(rows in prop::collection::vec((any::<Option<i64>>(), prop::option::of("[ -~]{1,12}|.{1,4}")), 1..10), sep in prop::sample::select(vec![",", ";", "||"])) {
        // Blanks stay, nulls and empty texts are told apart.
        let written = [("sep", sep), ("ignoreLeadingWhiteSpace", "false"), ("ignoreTrailingWhiteSpace", "false"), ("nullValue", "\u{1}null\u{1}"), ("quoteAll", "true")];
        let values = structs(&rows);
        let lines = evaluate(Arc::clone(&values), to_csv_with(col("v"), written)).unwrap();
        let read = [("sep", sep), ("nullValue", "\u{1}null\u{1}"), ("mode", "FAILFAST")];
        let back = evaluate(lines, from_csv_with(col("v"), "s STRING, n BIGINT", read)).unwrap();
        prop_assert_eq!(all(&back), all(&values));
    }

    #[test]
    fn no_bytes_do_harm(bytes in prop::collection::vec(prop_oneof![any::<u8>(), Just(b'"'), Just(b','), Just(b'\\')], 0..32)) {
        let array: ArrayRef = Arc::new(BinaryArray::from(vec![Some(bytes.as_slice()), None]));
        let read = evaluate(array, from_csv(col("v"), "a INT, b STRING, c BINARY, d DECIMAL(5,2), _corrupt_record STRING")).unwrap();
        prop_assert!(read.is_null(1));
    }
}

#[test]
fn what_a_line_cannot_hold_is_refused() {
    for (data_type, part) in [("a ARRAY<INT>", "from_json"), ("INT", "structs")] {
        let message = over_texts(vec![], |v| from_csv(v, data_type))
            .unwrap_err()
            .to_string();
        assert!(message.contains(part), "{part} in {message}");
    }
    let binary: ArrayRef = Arc::new(BinaryArray::from(vec![b"x".as_slice()]));
    let values: ArrayRef = Arc::new(StructArray::from(vec![(
        Arc::new(Field::new("b", DataType::Binary, true)),
        binary,
    )]));
    let message = evaluate(values, to_csv(col("v"))).unwrap_err().to_string();
    assert!(message.contains("hex(b)"), "{message}");
    let line = evaluate(
        structs(&[(Some(1), Some("a,\"b\"".to_owned()))]),
        to_csv(col("v")),
    )
    .unwrap();
    assert_eq!(line.as_string::<i32>().value(0), r#""a,\"b\"",1"#);
}
