//! Restaurants near customers who walk through a town: a stream joined with a table that may change meanwhile.
//!
//! Nobody compares every customer with every restaurant: the town is a grid, a restaurant stands in its cell and in the
//! eight around it, and a customer looks into one cell only. The distance decides among what is found there.

use headwater::prelude::*;

use crate::{column, time};

/// Columns of the customers' positions, in degrees.
pub fn positions() -> Schema {
    Schema::new(vec![
        column("time", time()),
        column("customer", DataType::Utf8),
        column("lat", DataType::Float64),
        column("lon", DataType::Float64),
    ])
}

/// A restaurant is near within this distance, in metres. Cells of the grid are larger than this.
pub const NEAR: f64 = 150.0;

/// Each position with each restaurant near it. Both may be tables; a stream goes on the left.
pub fn nearby(positions: DataFrame, restaurants: DataFrame) -> Result<DataFrame> {
    // A cell is 0.002 degrees high and 0.004 wide: 222 m by 264 m at this latitude.
    let restaurants = restaurants
        .select_expr([
            "name AS restaurant",
            "kitchen",
            "lat AS to_lat",
            "lon AS to_lon",
            "make_array(-1, 0, 1) AS north",
            "make_array(-1, 0, 1) AS east",
        ])?
        .explode("north")?
        .explode("east")?
        .select_expr([
            "restaurant",
            "kitchen",
            "to_lat",
            "to_lon",
            "CAST(floor(to_lat / 0.002) AS BIGINT) + north AS near_row",
            "CAST(floor(to_lon / 0.004) AS BIGINT) + east AS near_column",
        ])?;
    positions
        .select_expr([
            "time",
            "customer",
            "lat",
            "lon",
            "CAST(floor(lat / 0.002) AS BIGINT) AS grid_row",
            "CAST(floor(lon / 0.004) AS BIGINT) AS grid_column",
        ])?
        .join(
            restaurants,
            JoinType::Inner,
            &["grid_row", "grid_column"],
            &["near_row", "near_column"],
        )?
        .select_expr([
            "time",
            "customer",
            "restaurant",
            "kitchen",
            // A town is flat: degrees of longitude shrink with the cosine of the latitude, and that is all.
            "sqrt(power((lat - to_lat) * 111195, 2) + power((lon - to_lon) * 111195 * cos(radians(lat)), 2)) AS metres",
        ])?
        .filter(col("metres").lt_eq(lit(NEAR)))
}

/// A hint for each customer who comes near a restaurant, but not a second one for the same restaurant within a quarter of
/// an hour.
pub fn hints(positions: DataFrame, restaurants: DataFrame) -> Result<DataFrame> {
    nearby(positions.with_watermark("time", "15 minutes")?, restaurants)?
        .drop_duplicates_within_watermark(&["customer", "restaurant"])
}

/// Runs over all positions in `input`, beside the restaurants in the CSV files of the folder `restaurants`, and goes on
/// from `checkpoint` if it was run before. Each epoch sees the restaurants as they are then.
pub async fn run(
    input: &str,
    restaurants: &str,
    output: &str,
    checkpoint: &str,
) -> Result<StreamingQuery> {
    let session = Session::new();
    let restaurants = session
        .read()
        .option("header", "true")
        .csv(restaurants)
        .await?;
    let stream = session
        .read_stream()
        .schema(positions())
        .option("header", "true")
        .option("maxFilesPerTrigger", "1")
        .csv(input)?;
    let query = hints(stream, restaurants)?
        .write_stream()
        .query_name("hints")
        .format("parquet")
        .option("checkpointLocation", checkpoint)
        .trigger(Trigger::available_now())
        .start(output)
        .await?;
    query.await_termination().await?;
    Ok(query)
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, fs, ops::Range};

    use super::*;
    use crate::testing::{Arriving, cells, millis, shown, sorted_rows};

    fn number(text: &str) -> f64 {
        text.parse().expect("a number")
    }

    /// Time, customer and restaurant of each pair that is near, worked out by comparing all with all.
    fn by_hand(positions: &[Vec<String>], restaurants: &[Vec<String>]) -> Vec<String> {
        let mut near = Vec::new();
        for position in positions {
            for restaurant in restaurants {
                let (lat, lon) = (number(&position[2]), number(&position[3]));
                let north = (lat - number(&restaurant[3])) * 111_195.0;
                let east = (lon - number(&restaurant[4])) * 111_195.0 * lat.to_radians().cos();
                if north.hypot(east) <= NEAR {
                    let time = shown(millis(&position[0]));
                    near.push(format!("{time}|{}|{}", position[1], restaurant[1]));
                }
            }
        }
        near.sort_unstable();
        near
    }

    fn all_positions() -> Vec<Vec<String>> {
        cells(&crate::data("positions"))
    }

    fn all_restaurants() -> Vec<Vec<String>> {
        cells(&crate::data("restaurants"))
    }

    /// Writes some of the restaurants as the table in the folder.
    fn open(folder: &str, restaurants: Range<usize>) -> Vec<Vec<String>> {
        let open = all_restaurants()[restaurants].to_vec();
        let lines: Vec<String> = open.iter().map(|cells| cells.join(",") + "\n").collect();
        let table = format!("id,name,kitchen,lat,lon\n{}", lines.concat());
        fs::create_dir_all(folder).expect("a folder");
        fs::write(format!("{folder}/restaurants.csv"), table).expect("a file");
        open
    }

    #[tokio::test]
    async fn the_grid_finds_what_comparing_all_with_all_finds() -> Result<()> {
        let session = Session::new();
        let reader = session.read().schema(positions()).option("header", "true");
        let people = reader.csv(crate::data("positions")).await?;
        let reader = session.read().option("header", "true");
        let places = reader.csv(crate::data("restaurants")).await?;
        let found = nearby(people, places)?.select(["time", "customer", "restaurant"])?;
        let expected = by_hand(&all_positions(), &all_restaurants());
        assert!(expected.len() > 500, "{}", expected.len());
        assert_eq!(sorted_rows(found).await?, expected);
        Ok(())
    }

    #[tokio::test]
    async fn a_changed_table_is_seen_by_the_next_epoch_of_a_running_query() -> Result<()> {
        let people = Arriving::of("positions");
        let folder = people.path("restaurants");
        let session = Session::new();
        let first = open(&folder, 0..60);
        let places = session.read().option("header", "true").csv(&folder).await?;
        let reader = session.read_stream().schema(positions());
        let stream = reader.option("header", "true").csv(people.input())?;
        let query = nearby(stream, places)?
            .select(["time", "customer", "restaurant"])?
            .write_stream()
            .to_table("near")
            .await?;
        people.bring_first_half();
        query.process_all_available().await?;
        let before = cells(&people.input());
        // Some close, others open.
        let second = open(&folder, 30..90);
        people.bring_second_half();
        query.process_all_available().await?;
        query.stop().await?;

        let after = all_positions().split_off(before.len());
        let mut expected = by_hand(&before, &first);
        expected.extend(by_hand(&after, &second));
        expected.sort_unstable();
        assert_eq!(sorted_rows(session.table("near").await?).await?, expected);
        Ok(())
    }

    #[tokio::test]
    async fn nobody_is_told_of_a_restaurant_again_too_soon_across_a_restart() -> Result<()> {
        let people = Arriving::of("positions");
        let (out, checkpoint) = (people.path("out"), people.path("checkpoint"));
        let places = people.path("restaurants");
        open(&places, 0..90);
        people.bring_first_half();
        run(&people.input(), &places, &out, &checkpoint).await?;
        people.bring_second_half();
        run(&people.input(), &places, &out, &checkpoint).await?;

        let session = Session::new();
        let written = session.read().parquet(&out).await?;
        let written = sorted_rows(written.select(["time", "customer", "restaurant"])?).await?;
        let near = by_hand(&all_positions(), &all_restaurants());
        assert!(written.len() * 2 < near.len());
        // Of each pair the times of being near, and of the hints.
        let mut pairs: BTreeMap<String, (Vec<i64>, Vec<i64>)> = BTreeMap::new();
        let split = |row: &str| {
            let (time, pair) = row.split_once('|').expect("a time");
            (pair.to_owned(), millis(time))
        };
        for (pair, time) in near.iter().map(|row| split(row)) {
            pairs.entry(pair).or_default().0.push(time);
        }
        for (pair, time) in written.iter().map(|row| split(row)) {
            pairs.entry(pair).or_default().1.push(time);
        }
        for (pair, (near, hints)) in pairs {
            assert!(hints.iter().all(|hint| near.contains(hint)), "{pair}");
            assert!(!hints.is_empty(), "{pair}");
            for two in hints.windows(2) {
                assert!(two[1] - two[0] > 15 * 60 * 1000, "{pair}: {two:?}");
            }
        }
        Ok(())
    }
}
