//! Statements as they come: typed at a terminal, or piped into standard input.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`pieces`] | a text cut into statements |
//! | [`conversation`] | the session, what was said in it, and the queries that run beside |
//! | [`batch`], [`input`], [`output`] | statements without anybody at a terminal, and rows as a script reads them |
//! | [`interactive`], [`prompt`], [`history`], [`terminal`] | statements of somebody at a terminal |
//! | [`vocabulary`], [`complete`], [`highlight`], [`private`], [`words`] | what is known of that text |
//! | [`stream_answer`], [`look`], [`live`], [`grid`] | a query over streams whose rows come here, and how they are drawn |

pub(crate) mod batch;
mod complete;
pub(crate) mod conversation;
mod grid;
mod highlight;
mod history;
mod input;
pub(crate) mod interactive;
mod live;
mod look;
pub(crate) mod output;
mod pieces;
mod private;
mod prompt;
mod stream_answer;
pub(crate) mod terminal;
mod vocabulary;
mod words;
