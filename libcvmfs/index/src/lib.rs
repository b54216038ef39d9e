//! Reader of the flat catalog index.
#![cfg_attr(not(test), no_std)]
