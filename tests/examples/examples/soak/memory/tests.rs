use super::*;

fn samples(resident_kib: impl Fn(u64) -> u64) -> Vec<Sample> {
    let sample = |second| Sample { second, resident_kib: resident_kib(second), messages: 1, connections: 1 };
    (1..=600).map(sample).collect()
}

#[test]
fn memory_that_grows_with_time_is_told_from_memory_that_varies() {
    let (second, last, flat) = growth(&samples(|second| 40_000 + second % 7 * 1000));
    assert_eq!((second, last, flat), (43_000, 43_000, true));
    // A peak is none of the median's business; 30 KiB a second are.
    assert!(growth(&samples(|second| if second == 500 { 900_000 } else { 40_000 })).2);
    assert!(!growth(&samples(|second| 40_000 + second * 30)).2);
}

#[test]
fn what_is_read_from_the_system_is_the_size_of_a_process() {
    let kib = resident_kib().unwrap();
    assert!((500..10_000_000).contains(&kib), "{kib} KiB");
}

#[test]
fn a_plot_has_a_point_for_each_sample() {
    let samples = samples(|second| second);
    let svg = svg(&samples, "title");
    assert_eq!(svg.matches("<polyline").count(), 2);
    assert_eq!(
        svg.split("points=\"").nth(1).unwrap().split('"').next().unwrap().split_whitespace().count(),
        600
    );
    assert_eq!(csv(&samples).lines().nth(600), Some("600,600,1,1"));
}
