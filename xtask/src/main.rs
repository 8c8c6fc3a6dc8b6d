//! Build steps that need more than cargo.

fn main() {}
