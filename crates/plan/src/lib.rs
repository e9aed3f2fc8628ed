//! From a logical plan over unbounded tables to a tree of operators.
