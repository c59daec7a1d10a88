//! O3: two links that meet in memory.

use handclasp_embeddings::answered_calls;

#[test]
fn o3_two_links_in_memory_answer_every_call_whatever_the_seed() {
    for seed in [[0; 32], [7; 32], [0xff; 32]] {
        for calls in [0, 1, 100] {
            assert_eq!(answered_calls(seed, calls).expect("an exchange"), calls);
        }
    }
}
