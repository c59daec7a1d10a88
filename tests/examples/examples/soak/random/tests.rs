use super::*;

#[test]
fn a_body_that_is_changed_or_cut_is_not_opened() {
    let whole = body(77, 1003);
    assert_eq!(opened(&whole), Some(77));
    assert_eq!(opened(&body(0, 0)), Some(0));
    assert_eq!(opened(&whole[..1002]), None);
    assert_eq!(opened(&whole[..7]), None);
    for at in [0, 9, 16, 500, 1002] {
        let mut changed = whole.clone();
        changed[at] ^= 1;
        assert_eq!(opened(&changed), None, "{at}");
    }
}

#[test]
fn content_is_the_same_in_parts() {
    let mut whole = [0; 100];
    Content::new(5).write(&mut whole);
    let mut parts = Content::new(5);
    assert!(parts.matches(&whole[..64]) && parts.matches(&whole[64..]));
    assert!(!Content::new(6).matches(&whole));
}

#[test]
fn the_same_seed_draws_the_same_and_names_draw_their_own() {
    let draws = |names: &[u64]| Draws::new(7, names).next();
    assert_eq!(draws(&[1, 2]), draws(&[1, 2]));
    assert_ne!(draws(&[1, 2]), draws(&[2, 1]));
    assert!((0..1000).all(|seed| (3..9).contains(&Draws::new(seed, &[]).within(3..9))));
}
