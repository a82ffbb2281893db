use proptest::prelude::*;

use super::*;

fn refused(text: &str) -> String {
    Schedule::parse(text, None).unwrap_err().to_string()
}

fn next(text: &str, zone: Option<&str>, after: i64) -> Option<String> {
    Schedule::parse(text, zone).unwrap().next_after(Timestamp(after)).map(|time| time.to_string())
}

#[test]
fn errors_name_the_field_the_place_and_what_is_allowed() {
    let cases = [
        ("cron(0 25 * * ? *)", "the hours at character 8 is `25`; allowed is 0-23 with , - * /"),
        ("cron(0 0 1,32 * ? *)", "the day of month at character 12 is `32`"),
        ("cron(0 0 ? * 0 *)", "days count from 1, which is SUN"),
        ("cron(0 0 ? * MOND *)", "did you mean `MON`?"),
        ("cron(0 0 ? * 3#2,6#3 *)", "with `#` it is the only item"),
        ("cron(0 0 ? * 3#6 *)", "after `#` stands 1 to 5"),
        ("cron(0 0 * * * *)", "the day of month at character 10 is `*`"),
        ("cron(0 0 1 * MON *)", "one of the two day fields must be `?`"),
        ("cron(0 0 ? * ? *)", "only one day field may be `?`"),
        ("cron(? 0 1 * ? *)", "`?` is for one of the day fields"),
        ("cron(*/0 0 1 * ? *)", "a step is 1 to 60"),
        ("cron(0, 0 1 * ? *)", "something is missing here"),
        ("cron(+5 0 1 * ? *)", "the minutes at character 6 is `+5`"),
        ("cron(0 0 1 * ? 1969)", "the year at character 16 is `1969`; allowed is 1970-2199"),
        ("cron(0 0 1 * ? 2030-2020)", "years don't wrap around"),
        ("cron(0 0 L-0 * ? *)", "L-1 to L-30"),
        ("cron(0 0 30 2 ? *)", "never comes"),
        ("cron(0 0 ? 2 3#5 2026)", "never comes"),
        ("rate(1 minutes)", "write rate(1 minute)"),
        ("rate(5 minute)", "write rate(5 minutes)"),
        ("rate(30 seconds)", "the finest is a minute"),
        ("rate(0 minutes)", "the value at character 6 is `0`"),
        ("rate(-1 minutes)", "the value at character 6 is `-1`"),
        ("rate(36601 days)", "for at most 100 years"),
        ("rate(18446744073709551615 days)", "for at most 100 years"),
        ("rate(5m)", "did you mean rate(5 minutes)?"),
        ("5m", "did you mean rate(5 minutes)?"),
        ("48h", "did you mean rate(2 days)?"),
        ("at(2026-02-30T00:00:00)", "the date and time at character 4 is `2026-02-30T00:00:00`"),
        ("at(2026-02-03T00:00:00Z)", "give the zone beside the expression"),
        ("at(2026-02-03 00:00:00)", "such as 2026-01-31T12:00:00"),
        ("at(\u{661}026-02-03T00:00:00)", "such as 2026-01-31T12:00:00"),
        ("crom(0 0 1 * ? *)", "did you mean cron(0 0 1 * ? *)?"),
        ("", "write cron("),
        ("cron(0 0 1 * ? *", "write cron("),
    ];
    for (text, wanted) in cases {
        let message = refused(text);
        assert!(message.contains(wanted), "{text}: {message}");
    }
    let error = Schedule::parse(" cron(0  25 * * ? *)", None).unwrap_err();
    assert_eq!(error.position(), Some((8, 2)));
    assert!(matches!(Schedule::parse(&" ".repeat(257), None), Err(ParseError::TooLong { bytes: 257 })));
}

#[test]
fn other_dialects_are_answered_with_this_one() {
    let cases = [
        ("cron(0 2 * * *)", "did you mean cron(0 2 * * ? *)?"),
        ("0 2 * * *", "did you mean cron(0 2 * * ? *)?"),
        ("0 2 * * 1-5", "did you mean cron(0 2 ? * MON-FRI *)?"),
        ("*/5 0 * * 0,7", "did you mean cron(*/5 0 ? * SUN,SUN *)?"),
        ("0 2 1 * *", "did you mean cron(0 2 1 * ? *)?"),
        ("0 2 1 * 1", "write a schedule for each"),
        ("0 2 * * 9", "five fields are Unix's form"),
        ("0 2 * * ? *", "did you mean cron(0 2 * * ? *)?"),
        ("cron(0 0 2 * * ? *)", "without seconds it is cron(0 2 * * ? *)"),
        ("@daily", "did you mean cron(0 0 * * ? *)?"),
    ];
    for (text, wanted) in cases {
        let message = refused(text);
        assert!(message.contains(wanted), "{text}: {message}");
    }
}

#[test]
fn zones_are_iana_names() {
    let error = |zone| Schedule::parse("rate(1 day)", Some(zone)).unwrap_err().to_string();
    assert!(error("europe/berlin").contains("did you mean Europe/Berlin?"));
    assert!(error("+02:00").contains("write an IANA name"));
    assert_eq!(Schedule::parse("rate(1 day)", Some("UTC")).unwrap().zone(), Some("UTC"));
}

#[test]
fn once_is_once_in_its_zone() {
    let text = "at(2026-10-25T02:30:00)";
    assert_eq!(next(text, None, 0).unwrap(), "2026-10-25T02:30:00.000Z");
    // Shown twice: the first is meant.
    assert_eq!(next(text, Some("Europe/Berlin"), 0).unwrap(), "2026-10-25T00:30:00.000Z");
    let at = Schedule::parse(text, None).unwrap();
    let time = at.next_after(Timestamp(0)).unwrap();
    assert_eq!(at.next_after(time), None);
    let error = Schedule::parse("at(2026-03-29T02:30:00)", Some("Europe/Berlin")).unwrap_err();
    assert!(error.to_string().contains("does not exist in Europe/Berlin"));
}

#[test]
fn rate_counts_from_its_anchor() {
    let rate = Schedule::parse("rate(2 hours)", Some("Europe/Berlin")).unwrap().anchored(Timestamp(90_000));
    let hours = |hours: i64| Timestamp(90_000 + hours * 3_600_000);
    assert_eq!(rate.next_after(Timestamp(i64::MIN)), Some(hours(0)));
    assert_eq!(rate.next_after(hours(0)), Some(hours(2)));
    assert_eq!(rate.next_after(Timestamp(hours(2).0 - 1)), Some(hours(2)));
    assert_eq!(rate.next_after(Timestamp(i64::MAX)), None);
    assert_eq!(rate.latest(hours(3)), Some(hours(2)));
    assert_eq!(rate.latest(Timestamp(0)), None);
    assert_eq!(rate.count(hours(0), hours(10), 0), 5);
    assert_eq!(rate.count(Timestamp(0), hours(1), 0), 1);
    assert_eq!(rate.count(Timestamp(i64::MIN), Timestamp(i64::MIN), 0), 0);
}

#[test]
fn text_gives_the_schedule_back_with_its_zone() {
    for (text, zone) in
        [("cron(0  2 * * ? *)", Some("Europe/Berlin")), ("rate(1 day)", None), ("at(2026-01-01T00:00:00)", Some("UTC"))]
    {
        let schedule = Schedule::parse(text, zone).unwrap();
        assert_eq!(schedule.expression(), text);
        assert_eq!(String::from(schedule.clone()).parse::<Schedule>().unwrap(), schedule);
        assert_eq!(Schedule::try_from(schedule.to_string()).unwrap(), schedule);
    }
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused_with_a_place_inside_it(
        text in "(cron|rate|at)\\([0-9A-Za-z*?,/#\\- \u{e9}\u{1f600}]{0,24}\\)|.{0,30}",
        zone in proptest::option::of("[A-Z][a-z]{2,6}/?[A-Z]?[a-z]{0,6}|UTC"),
    ) {
        match Schedule::parse(&text, zone.as_deref()) {
            Ok(schedule) => prop_assert_eq!(schedule.to_string().parse::<Schedule>().unwrap(), schedule),
            Err(error) => {
                if let Some((at, length)) = error.position() {
                    prop_assert!(at + length <= text.trim().chars().count(), "{}", error);
                }
                prop_assert!(!error.to_string().is_empty());
            }
        }
    }
}
