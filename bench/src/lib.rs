//! Figures, beside those of peers in the same run.
