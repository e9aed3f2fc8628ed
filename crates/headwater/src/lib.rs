//! Structured streaming as an embeddable library over Arrow and DataFusion.
