//! One configuration out of its layers.
