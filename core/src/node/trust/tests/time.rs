use alloc::format;
use alloc::string::ToString;

use proptest::prelude::*;

use crate::node::trust::{TimeError, UnixTime};

fn parse(text: &str) -> Result<u64, TimeError> {
    text.parse::<UnixTime>().map(UnixTime::as_secs)
}

#[test]
fn i4_times_are_those_of_rfc_3339() {
    for (text, seconds) in [
        ("1970-01-01", 0),
        ("1970-01-01T00:00:01Z", 1),
        ("1970-01-02", 86_400),
        ("2000-02-29T12:34:56Z", 951_827_696),
        ("2001-09-09T01:46:40Z", 1_000_000_000),
        ("2027-03-01T12:00:00Z", 1_803_902_400),
        ("2038-01-19T03:14:08Z", 1 << 31),
        ("2100-03-01", 4_107_542_400),
        ("9999-12-31T23:59:59Z", 253_402_300_799),
    ] {
        assert_eq!(parse(text), Ok(seconds), "{text}");
        assert_eq!(UnixTime::from_secs(seconds).to_string(), text);
    }
    assert_eq!(parse("2027-03-01T00:00:00Z"), parse("2027-03-01"));
    assert_eq!(UnixTime::from_secs(u64::MAX), UnixTime::LAST);
}

#[test]
fn i4_every_day_of_a_cycle_of_the_calendar_follows_the_one_before() {
    let mut day = 0;
    for year in 1970..2370_u64 {
        for month in 1..=12 {
            for date in 1..=31 {
                match parse(&format!("{year}-{month:02}-{date:02}")) {
                    Ok(seconds) => {
                        assert_eq!(seconds, day * 86_400, "{year}-{month}-{date}");
                        day += 1;
                    }
                    Err(error) => assert!(date > 28 && error == TimeError::NoSuchTime),
                }
            }
        }
    }
    assert_eq!(day, 146_097);
}

#[test]
fn i4_what_is_no_time_is_refused() {
    for text in [
        "",
        "2027",
        "2027-3-1",
        "27-03-01",
        "2027-03-01 ",
        " 2027-03-01",
        "2027/03/01",
        "20270301",
        "+027-03-01",
        "2027-03-01T",
        "2027-03-01Z",
        "2027-03-01T12:00Z",
        "2027-03-01T12:00:00",
        "2027-03-01t12:00:00Z",
        "2027-03-01T12:00:00z",
        "2027-03-01 12:00:00Z",
        "2027-03-01T12:00:00.5Z",
        "2027-03-01T12:00:00+00:00",
        "12027-03-01",
        "２０２７-03-01",
        "never",
    ] {
        assert_eq!(parse(text), Err(TimeError::Form), "{text}");
    }
    for text in [
        "2027-00-01",
        "2027-13-01",
        "2027-01-00",
        "2027-04-31",
        "2027-02-29",
        "2100-02-29",
        "2027-03-01T24:00:00Z",
        "2027-03-01T12:60:00Z",
        "2016-12-31T23:59:60Z",
    ] {
        assert_eq!(parse(text), Err(TimeError::NoSuchTime), "{text}");
    }
    assert_eq!(parse("1969-12-31"), Err(TimeError::Before1970));
    assert_eq!(parse("0000-01-01"), Err(TimeError::Before1970));
}

proptest! {
    #[test]
    fn i4_every_time_has_one_text_and_texts_sort_like_times(
        seconds in 0..=UnixTime::LAST.as_secs(),
        later in 0..=UnixTime::LAST.as_secs(),
    ) {
        let (time, later) = (UnixTime::from_secs(seconds), UnixTime::from_secs(later));
        prop_assert_eq!(time.to_string().parse(), Ok(time));
        prop_assert_eq!(time.cmp(&later), time.to_string().cmp(&later.to_string()));
    }

    #[test]
    fn i4_no_text_makes_the_parser_panic_and_what_it_takes_is_what_it_says(
        text in "[0-9]{4}-[0-9]{2}-[0-9]{2}(T[0-9]{2}:[0-9]{2}:[0-9]{2}Z)?",
        noise in ".*",
    ) {
        if let Ok(time) = text.parse::<UnixTime>() {
            let whole = if text.ends_with("T00:00:00Z") { &text[..10] } else { &text };
            prop_assert_eq!(time.to_string(), whole);
        }
        let _ = noise.parse::<UnixTime>();
    }
}
