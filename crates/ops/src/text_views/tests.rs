use datafusion::{
    arrow::{
        array::{Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray},
        datatypes::{Field, Schema, TimeUnit},
    },
    common::tree_node::TreeNodeRecursion,
};

use super::*;
use crate::{expiry::Expiry, partial_step::context, window::Windows};

const TIME: DataType = DataType::Timestamp(TimeUnit::Microsecond, None);

fn rows() -> RecordBatch {
    let schema = Schema::new(vec![
        Field::new("kind", DataType::Utf8, true),
        Field::new("place", DataType::Utf8, true),
        Field::new("n", DataType::Int64, true),
        Field::new("ts", TIME, true),
    ]);
    RecordBatch::try_new(
        Arc::new(schema),
        vec![
            Arc::new(StringArray::from(vec!["a", "b"])),
            Arc::new(StringArray::from(vec!["here", "there"])),
            Arc::new(Int64Array::from(vec![1, 2])),
            Arc::new(TimestampMicrosecondArray::from(vec![1, 2])),
        ],
    )
    .unwrap()
}

/// The plan of `sql` over a scan of a source, each node that reads the table wrapped by `between`.
async fn plan(
    sql: &str,
    between: impl Fn(Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan>,
) -> Arc<dyn ExecutionPlan> {
    let plan = context(&rows()).sql(sql).await.unwrap();
    let plan = plan.create_physical_plan().await.unwrap();
    let over_source = plan.transform_up(|node| {
        if !node.children().is_empty() {
            return Ok(Transformed::no(node));
        }
        let scan = SourceScanExec::new(0, "rows".to_owned(), node.schema(), None, 1);
        Ok(Transformed::yes(between(Arc::new(scan))))
    });
    // An aggregation over one partition is planned in one step; the stateful one has a partial step all the same.
    let mut step = None;
    let found = over_source.unwrap().data.apply(|node| {
        if let Some(single) = node.downcast_ref::<AggregateExec>() {
            step = Some(AggregateExec::try_new(
                AggregateMode::Partial,
                single.group_expr().clone(),
                single.aggr_expr().to_vec(),
                single.filter_expr().to_vec(),
                Arc::clone(single.input()),
                single.input_schema(),
            )?);
        }
        Ok(TreeNodeRecursion::Continue)
    });
    found.unwrap();
    Arc::new(step.expect("an aggregation"))
}

/// Columns that the scan gives as views once the plan has been changed, whose own columns stay what they were.
async fn viewed(
    sql: &str,
    between: impl Fn(Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan>,
) -> Vec<String> {
    let before = plan(sql, between).await;
    let after = group_text_as_views(Arc::clone(&before)).unwrap();
    let types = |plan: &Arc<dyn ExecutionPlan>| -> Vec<(String, DataType)> {
        let fields = plan.schema().fields().clone();
        let one = |field: &Arc<Field>| (field.name().clone(), field.data_type().clone());
        fields.iter().map(one).collect()
    };
    assert_eq!(types(&after), types(&before), "{sql}");
    let views_of = |node: &Arc<dyn ExecutionPlan>| -> Vec<String> {
        let schema = node.schema();
        let fields = schema.fields().iter();
        let views = fields.filter(|field| *field.data_type() == DataType::Utf8View);
        views.map(|field| field.name().clone()).collect()
    };
    let (mut viewed, mut grouped) = (Vec::new(), Vec::new());
    after
        .apply(|node| {
            if node.is::<SourceScanExec>() {
                viewed = views_of(node);
            } else if let Some(aggregate) = node.downcast_ref::<AggregateExec>() {
                grouped = views_of(aggregate.input());
            }
            Ok(TreeNodeRecursion::Continue)
        })
        .unwrap();
    assert_eq!(
        grouped.len(),
        viewed.len(),
        "the nodes in between know: {sql}"
    );
    viewed
}

#[tokio::test]
async fn text_that_is_only_grouped_by_is_read_as_views() {
    for (sql, expected) in [
        ("SELECT kind, sum(n) FROM t GROUP BY kind", vec!["kind"]),
        (
            "SELECT place, kind, count(*) FROM t WHERE n > 1 GROUP BY place, kind",
            vec!["kind", "place"],
        ),
        (
            "SELECT kind AS k, n + 1 AS m, count(*) FROM t GROUP BY 1, 2",
            vec!["kind"],
        ),
        // Something else looks at it.
        ("SELECT kind, max(kind) FROM t GROUP BY kind", vec![]),
        (
            "SELECT kind, count(*) FROM t WHERE kind > 'a' GROUP BY kind",
            vec![],
        ),
        (
            "SELECT kind, count(*) FILTER (WHERE kind > 'a') FROM t GROUP BY kind",
            vec![],
        ),
        (
            "SELECT upper(kind), count(*) FROM t GROUP BY upper(kind)",
            vec![],
        ),
        ("SELECT kind, max(place) FROM t GROUP BY kind", vec!["kind"]),
        // No text, no groups, several groupings at a time.
        ("SELECT n, count(*) FROM t GROUP BY n", vec![]),
        ("SELECT max(kind) FROM t", vec![]),
        (
            "SELECT kind, place, count(*) FROM t GROUP BY ROLLUP (kind, place)",
            vec![],
        ),
    ] {
        assert_eq!(viewed(sql, |scan| scan).await, expected, "{sql}");
    }
}

#[tokio::test]
async fn nodes_that_look_at_times_let_views_pass() {
    let sql = "SELECT kind, place, n, ts, count(*) FROM t GROUP BY kind, place, n, ts";
    let windows = Windows {
        size_micros: 10,
        slide_micros: 10,
        offset_micros: 0,
    };
    let times = |scan| -> Arc<dyn ExecutionPlan> {
        let timed = Arc::new(EpochTimeExec::new(scan, "now".to_owned()));
        let watched = EventTimeExec::try_new(timed, "w".to_owned(), 3).unwrap();
        let start = "start".to_owned();
        Arc::new(AssignWindowsExec::try_new(Arc::new(watched), 3, windows, start).unwrap())
    };
    assert_eq!(viewed(sql, times).await, ["kind", "place"]);
    let late = |scan| -> Arc<dyn ExecutionPlan> {
        let expiry = Expiry {
            column: 3,
            extra_micros: 0,
        };
        Arc::new(LateFilterExec::new(scan, "op".to_owned(), expiry, None))
    };
    assert_eq!(viewed(sql, late).await, ["kind", "place"]);
}

#[tokio::test]
async fn text_from_elsewhere_than_a_scan_stays_as_it_is() {
    let batch = rows();
    let plan = context(&batch)
        .sql("SELECT kind, count(*) FROM t GROUP BY kind")
        .await
        .unwrap()
        .create_physical_plan()
        .await
        .unwrap();
    let after = group_text_as_views(Arc::clone(&plan)).unwrap();
    assert!(Arc::ptr_eq(&plan, &after), "nothing changes");
}
