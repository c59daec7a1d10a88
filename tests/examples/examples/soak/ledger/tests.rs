use super::*;

const LANE: Priority = Priority::Low;

fn way(sent: u64) -> Way {
    let way = Way::new("way");
    for number in 1..=sent {
        assert_eq!(way.send(LANE), number);
    }
    way
}

/// What the way is accused of after as many links.
fn accused(way: &Way, links: u64) -> String {
    let sum = way.settle(links);
    assert_eq!(sum.violated, sum.violations.len() as u64);
    sum.violations.join("; ")
}

#[test]
fn ranges_hold_what_was_put_into_them() {
    let mut ranges = Ranges::default();
    for number in [5, 1, 2, 4, 9] {
        assert!(ranges.insert(number));
        assert!(!ranges.insert(number));
    }
    assert_eq!(ranges.0, BTreeMap::from([(1, 2), (4, 5), (9, 9)]));
    assert!(ranges.insert(3));
    assert_eq!(ranges.0, BTreeMap::from([(1, 5), (9, 9)]));
    assert!(ranges.contains(4) && !ranges.contains(6) && !ranges.contains(0));
}

#[test]
fn what_came_what_came_back_and_what_a_link_took_with_it_add_up() {
    let way = way(10);
    for number in [1, 2, 3, 7, 10] {
        way.received(LANE, number);
    }
    way.returned(LANE, 5);
    way.returned(LANE, 8);
    way.returned(LANE, 9);
    // 4 and 6 are missing in one place: what was given back between them had its time over.
    let sum = way.settle(1);
    assert_eq!(sum.violations, [""; 0]);
    assert_eq!((sum.sent, sum.received, sum.returned, sum.unknown), (10, 5, 3, 2));
}

#[test]
fn a_loss_needs_a_link_that_lost_it() {
    let way = way(5);
    for number in [1, 3, 5] {
        way.received(LANE, number);
    }
    assert_eq!(accused(&way, 2), "");
    assert!(accused(&way, 1).contains("missing in 2 places"));
}

#[test]
fn messages_come_once_in_order_and_not_after_they_were_given_back() {
    let cases: [(&[u64], Option<u64>, &str); 4] = [
        (&[1, 2, 2], None, "Low message 2 was delivered twice, or after a later one"),
        (&[1, 3, 2], None, "Low message 2 was delivered twice, or after a later one"),
        (&[1, 2, 3], Some(4), "Low message 4 was given back, and delivered afterwards"),
        (&[9], None, "Low message 9 was delivered, and never sent"),
    ];
    for (came, back, accusation) in cases {
        let way = way(4);
        for number in came {
            way.received(LANE, *number);
        }
        if let Some(number) = back {
            way.returned(LANE, number);
            way.received(LANE, number);
        }
        assert!(accused(&way, 9).contains(accusation), "{accusation}");
    }
    let way = way(1);
    way.received(LANE, 1);
    way.returned(LANE, 1);
    assert!(accused(&way, 9).contains("given back twice, or after it was delivered"));
}

#[test]
fn what_was_given_back_fills_its_hole_and_is_forgotten() {
    let way = way(9);
    way.returned(LANE, 2);
    way.received(LANE, 1);
    way.received(LANE, 5);
    way.books(|books| assert_eq!(books.lanes[LANE as usize].holes.len(), 1));
    way.returned(LANE, 4);
    way.returned(LANE, 3);
    way.books(|books| assert!(books.lanes[LANE as usize].holes.is_empty()));
    way.returned(LANE, 6);
    way.received(LANE, 7);
    way.books(|books| assert!(books.lanes[LANE as usize].holes.is_empty()));
    way.returned(LANE, 8);
    way.returned(LANE, 9);
    let sum = way.settle(0);
    assert_eq!((sum.violated, sum.received, sum.returned, sum.unknown), (0, 3, 6, 0));
    for number in [3, 6, 9] {
        way.returned(LANE, number);
    }
    assert_eq!(accused(&way, 0).matches("given back twice").count(), 3);
}

#[test]
fn calls_are_executed_once_and_not_where_that_was_denied() {
    let way = way(0);
    let (first, second) = (way.call(), way.call());
    way.executes(first);
    way.answered(first);
    way.failed(second, Executed::No);
    assert_eq!(accused(&way, 0), "");
    way.executes(second);
    assert!(accused(&way, 0).contains("call 2 was executed, and its caller told that it was not"));
    way.executes(first);
    assert!(accused(&way, 0).contains("call 1 was executed twice"));

    let way = Way::new("way");
    way.answered(way.call());
    way.call();
    let accusations = accused(&way, 0);
    assert!(accusations.contains("call 1 was answered and not executed"), "{accusations}");
    assert!(accusations.contains("2 calls have 1 ends"), "{accusations}");
}

#[test]
fn a_stream_that_was_confirmed_was_read_and_each_has_an_end() {
    let way = way(0);
    let number = way.stream();
    way.takes(number);
    way.read(number, 100);
    way.confirmed(number);
    let sum = way.settle(0);
    assert_eq!((sum.violated, sum.whole, sum.stream_bytes), (0, 1, 100));
    way.confirmed(way.stream());
    way.takes(number);
    way.stream();
    let accusations = accused(&way, 0);
    for accusation in ["stream 2 was confirmed", "stream 1 was taken twice", "3 streams have 2 ends"] {
        assert!(accusations.contains(accusation), "{accusations}");
    }
}
