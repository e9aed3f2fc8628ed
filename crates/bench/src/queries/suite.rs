//! The queries q0 to q22 of the public Nexmark suite, as far as the model can express them.
//!
//! What each asks follows <https://github.com/nexmark/nexmark>. Results are dropped, as they are there, except for q10,
//! whose subject is the files. Queries that correct what they gave out before (by retractions) need another form in a
//! model whose append mode gives out final rows: [`SuiteQuery::differs`] says which, and why.

mod auctions;
mod bids;
mod statistics;
mod windows;

use headwater_core::OutputMode;

use super::{Query, Target};
use crate::tables::Table;

/// A query of the suite.
#[derive(Debug, Clone, Copy)]
pub struct SuiteQuery {
    /// The query, or the nearest that can be expressed.
    pub query: Query,
    /// How the answer differs from what the suite asks for, and why; nothing if it does not.
    pub differs: Option<&'static str>,
}

/// The suite, in its order.
pub const SUITE: [SuiteQuery; 23] = [
    bids::Q0,
    bids::Q1,
    bids::Q2,
    auctions::Q3,
    auctions::Q4,
    windows::Q5,
    auctions::Q6,
    windows::Q7,
    windows::Q8,
    auctions::Q9,
    bids::Q10,
    windows::Q11,
    windows::Q12,
    bids::Q13,
    bids::Q14,
    statistics::Q15,
    statistics::Q16,
    statistics::Q17,
    statistics::Q18,
    statistics::Q19,
    auctions::Q20,
    bids::Q21,
    bids::Q22,
];

/// Bids in, nothing kept.
const BIDS: Query = Query {
    target: Target::Noop,
    ..super::BIDS_TO_FILES
};

/// A query whose text is the same for streams and finished tables.
const fn same_text(query: Query, text: &'static str) -> Query {
    Query {
        stream: text,
        batch: text,
        ..query
    }
}

/// A query that gives a group out whenever it changes.
const fn updates(query: Query) -> Query {
    Query {
        output_mode: OutputMode::Update,
        ..query
    }
}

const fn named(name: &'static str, asks: &'static str, inputs: &'static [Table]) -> Query {
    Query {
        name,
        asks,
        inputs,
        ..BIDS
    }
}

#[cfg(test)]
mod tests;
