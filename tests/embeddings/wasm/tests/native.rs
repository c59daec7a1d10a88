//! O3: what the module exports, on the machine that builds it.

use handclasp_wasm::{CALLS, answered_calls};

#[test]
fn o3_the_function_that_the_module_exports_answers_a_thousand_calls() {
    assert_eq!(CALLS, 1000);
    assert_eq!(answered_calls(1, 2, 3, 4), CALLS);
    assert_eq!(answered_calls(u64::MAX, 0, 0, 0), CALLS);
}
