//! Input files that are not what they claim to be. A file that was mended or replaced is read at the next start.

use std::fs;

use datafusion::arrow::{
    array::{ArrayRef, RecordBatch, StringArray},
    datatypes::{DataType, Field, Schema},
};
use headwater::prelude::ErrorKind;
use parquet::arrow::ArrowWriter;
use std::sync::Arc;

use super::shop::{Format, Shop, damage};

#[tokio::test(flavor = "multi_thread")]
async fn a_truncated_parquet_file_stops_the_query_until_it_is_replaced() {
    // In the footer, and in the middle of the pages.
    for keep in [0.98, 0.5, 0.01] {
        let shop = Shop::open(4, Format::Parquet);
        damage(&shop.input(2), |mut bytes| {
            bytes.truncate((bytes.len() as f64 * keep) as usize);
            bytes
        });
        let error = shop
            .assert_stops(&["query 'shop'", "epoch 2", "00002.parquet"])
            .await;
        assert_eq!(error.kind(), ErrorKind::Data, "{error}");
        println!("{error}");
        shop.write_input(2..3);
        shop.assert_completes().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parquet_file_with_damaged_pages_stops_the_query_until_it_is_replaced() {
    let shop = Shop::open(4, Format::Parquet);
    damage(&shop.input(2), |mut bytes| {
        bytes[4..200].fill(0xa5);
        bytes
    });
    let error = shop.assert_stops(&["epoch 2", "00002.parquet"]).await;
    println!("{error}");
    shop.write_input(2..3);
    shop.assert_completes().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_another_schema_stops_the_query_until_it_is_replaced() {
    let shop = Shop::open(4, Format::Parquet);
    let text = |name: &str| Field::new(name, DataType::Utf8, true);
    let other = Arc::new(Schema::new(vec![text("key"), text("value")]));
    let column: ArrayRef = Arc::new(StringArray::from(vec!["many"]));
    let batch = RecordBatch::try_new(Arc::clone(&other), vec![Arc::clone(&column), column]);
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, other, None).expect("a writer");
    writer.write(&batch.expect("a batch")).expect("written");
    writer.close().expect("closed");
    damage(&shop.input(1), |_| bytes);

    let error = shop
        .assert_stops(&["epoch 1", "'value'", "00001.parquet", "Utf8", "Int64"])
        .await;
    assert_eq!(error.kind(), ErrorKind::Data, "{error}");
    println!("{error}");
    shop.write_input(1..2);
    shop.assert_completes().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_gone_stops_the_query_until_it_is_back() {
    let shop = Shop::open(4, Format::Parquet);
    // It is planned while it is there, and read when it is not.
    damage(&shop.input(1), |_| b"PAR1".to_vec());
    shop.run().await.expect_err("it is no Parquet file");
    fs::remove_file(shop.input(1)).expect("it was there");
    let error = shop
        .assert_stops(&["epoch 1", "00001.parquet", "is gone now: put it back"])
        .await;
    println!("{error}");
    shop.write_input(1..2);
    shop.assert_completes().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_json_stops_a_query_that_wants_to_fail_fast_until_it_is_mended() {
    let shop = Shop::open(4, Format::Json);
    damage(&shop.input(2), |bytes| {
        let mut lines: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
        lines[6] = b"{\"time\": ";
        lines.join(&b'\n')
    });
    let error = shop
        .assert_stops(&["epoch 2", "line 7 of file 00002.json is malformed"])
        .await;
    assert_eq!(error.kind(), ErrorKind::Data, "{error}");
    println!("{error}");
    shop.write_input(2..3);
    shop.assert_completes().await;
}
