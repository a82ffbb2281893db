use std::time::Duration;

use weir_types::SequenceNumber;

use super::*;
use crate::settings::DeadLetter;

fn name(text: &str) -> QueueName {
    text.parse().unwrap()
}

fn apply(registry: &mut Registry, at: i64, command: Command) -> Result<Outcome, Refusal> {
    registry.apply(At { sequence: SequenceNumber(0), time: Timestamp(at) }, command)
}

fn create(queue: &str, settings: Settings) -> Command {
    Command::Create { name: name(queue), settings, tags: BTreeMap::new(), identity: 7 }
}

fn dead_letters_to(queue: &str) -> Settings {
    let dead_letter = DeadLetter { max_receives: 3, to: DeadLetterTo::Queue(name(queue)) };
    Settings { dead_letter: Some(dead_letter), ..Settings::default() }
}

fn start_move(source: &str, to: Option<&str>) -> Command {
    Command::StartMove(Box::new(MoveTarget {
        source: name(source),
        to: to.map(name),
        rate_per_second: None,
        filter: None,
        below: SequenceNumber(40),
        to_move: 3,
    }))
}

/// A registry with a queue `work` whose dead letters go to `dead`.
fn pair() -> Registry {
    let mut registry = Registry::default();
    apply(&mut registry, 1, create("dead", Settings::default())).unwrap();
    apply(&mut registry, 2, create("work", dead_letters_to("dead"))).unwrap();
    registry
}

#[test]
fn a_queue_is_made_once_and_the_first_setting_that_differs_is_named() {
    let mut registry = pair();
    let before = registry.clone();
    assert_eq!(apply(&mut registry, 5, create("work", dead_letters_to("dead"))), Ok(Outcome::Done));
    let other = Settings { delay: Duration::from_secs(1), ..dead_letters_to("dead") };
    assert_eq!(apply(&mut registry, 5, create("work", other)), Err(Refusal::Exists { setting: "delay" }));
    let refused = apply(&mut registry, 5, create("work", Settings::default()));
    assert_eq!(refused, Err(Refusal::Exists { setting: "dead_letter" }));
    assert_eq!(registry, before);
}

#[test]
fn a_change_of_settings_moves_the_time_of_the_last_change_and_no_change_does_not() {
    let mut registry = pair();
    let settings = Settings { delay: Duration::from_secs(9), ..Settings::default() };
    for at in [10, 20] {
        apply(&mut registry, at, Command::Configure { name: name("dead"), settings: settings.clone() }).unwrap();
    }
    let entry = &registry.queues()[&name("dead")];
    assert_eq!((entry.created_at, entry.modified_at), (Timestamp(1), Timestamp(10)));
    let missing = apply(&mut registry, 30, Command::Configure { name: name("none"), settings });
    assert_eq!(missing, Err(Refusal::NoQueue(name("none"))));
}

#[test]
fn dead_letters_go_only_where_they_are_allowed() {
    let mut registry = Registry::default();
    let allow = |redrive_allow| Settings { redrive_allow, ..Settings::default() };
    apply(&mut registry, 1, create("none", allow(RedriveAllow::None))).unwrap();
    apply(&mut registry, 1, create("some", allow(RedriveAllow::Queues(vec![name("b")])))).unwrap();
    let refused = |result: Result<Outcome, Refusal>| matches!(result, Err(Refusal::DeadLetter { .. }));
    assert!(refused(apply(&mut registry, 2, create("a", dead_letters_to("nowhere")))));
    assert!(refused(apply(&mut registry, 2, create("a", dead_letters_to("none")))));
    assert!(refused(apply(&mut registry, 2, create("a", dead_letters_to("some")))));
    assert_eq!(apply(&mut registry, 2, create("b", dead_letters_to("some"))), Ok(Outcome::Done));
    // Those that are named already stay, whatever the dead-letter queue says later.
    apply(&mut registry, 3, Command::Configure { name: name("some"), settings: allow(RedriveAllow::None) }).unwrap();
    let settings = Settings { delay: Duration::from_secs(1), ..dead_letters_to("some") };
    assert_eq!(apply(&mut registry, 3, Command::Configure { name: name("b"), settings }), Ok(Outcome::Done));
}

#[test]
fn a_deleted_name_is_free_again_when_nothing_is_left_of_the_queue() {
    let mut registry = pair();
    apply(&mut registry, 3, start_move("dead", Some("work"))).unwrap();
    apply(&mut registry, 4, Command::Delete { name: name("dead") }).unwrap();
    assert!(registry.moves().is_empty());
    assert_eq!(registry.erasing().get(&name("dead")), Some(&7));
    assert_eq!(apply(&mut registry, 5, create("dead", Settings::default())), Err(Refusal::Erasing));
    apply(&mut registry, 6, Command::Erased { name: name("dead") }).unwrap();
    assert_eq!(apply(&mut registry, 7, create("dead", Settings::default())), Ok(Outcome::Done));
    assert_eq!(apply(&mut registry, 8, Command::Delete { name: name("x") }), Err(Refusal::NoQueue(name("x"))));
}

#[test]
fn tags_are_set_taken_away_and_limited() {
    let mut registry = pair();
    let tags = |keys: std::ops::Range<usize>| keys.map(|key| (format!("k{key}"), "v".to_owned())).collect();
    let tag = |keys| Command::Tag { name: name("work"), tags: tags(keys) };
    apply(&mut registry, 3, tag(0..TAGS_MAX)).unwrap();
    assert_eq!(apply(&mut registry, 3, tag(TAGS_MAX..TAGS_MAX + 1)), Err(Refusal::TooManyTags));
    assert_eq!(apply(&mut registry, 3, tag(1..3)), Ok(Outcome::Done));
    apply(&mut registry, 4, Command::Untag { name: name("work"), keys: vec!["k0".into(), "x".into()] }).unwrap();
    assert_eq!(apply(&mut registry, 5, tag(TAGS_MAX..TAGS_MAX + 1)), Ok(Outcome::Done));
    assert_eq!(registry.queues()[&name("work")].tags.len(), TAGS_MAX);
}

#[test]
fn moves_that_make_no_sense_are_refused() {
    let mut registry = pair();
    apply(&mut registry, 3, create("line.fifo", Settings { fifo: Some(Default::default()), ..Settings::default() }))
        .unwrap();
    let target = |result: Result<Outcome, Refusal>| matches!(result, Err(Refusal::Move(MoveRefusal::Target { .. })));
    assert!(target(apply(&mut registry, 4, start_move("dead", Some("dead")))));
    assert!(target(apply(&mut registry, 4, start_move("dead", Some("line.fifo")))));
    assert!(target(apply(&mut registry, 4, start_move("dead", Some("nowhere")))));
    assert_eq!(apply(&mut registry, 4, start_move("work", None)), Err(MoveRefusal::NoDeadLetterQueue.into()));
    assert_eq!(apply(&mut registry, 4, start_move("dead", None)), Ok(Outcome::Move(1)));
    assert_eq!(apply(&mut registry, 4, start_move("dead", None)), Err(MoveRefusal::Running.into()));
    assert_eq!(apply(&mut registry, 4, Command::CancelMove { number: 2 }), Err(MoveRefusal::NoMove.into()));
}

#[test]
fn the_last_moves_of_a_queue_are_remembered_with_their_ends() {
    let mut registry = pair();
    for number in 1..=MOVES_KEPT as u64 + 5 {
        assert_eq!(apply(&mut registry, 3, start_move("dead", None)), Ok(Outcome::Move(number)));
        let ended = Ended::Failed("no".into());
        apply(&mut registry, 4, Command::Progress { number, moved: 1 }).unwrap();
        apply(&mut registry, 4, Command::EndMove { number, moved: 2, ended }).unwrap();
    }
    let numbers: Vec<u64> = registry.moves().keys().copied().collect();
    assert_eq!(numbers, (6..=MOVES_KEPT as u64 + 5).collect::<Vec<_>>());
    let shown = registry.moves()[&6].shown(6, 0);
    assert_eq!((shown.moved, shown.failure.as_deref(), shown.to_move), (2, Some("no"), 3));
    assert_eq!(apply(&mut registry, 5, Command::Progress { number: 6, moved: 9 }), Err(MoveRefusal::NoMove.into()));
}

#[test]
fn a_snapshot_is_the_state() {
    let mut registry = pair();
    apply(&mut registry, 3, start_move("dead", None)).unwrap();
    apply(&mut registry, 3, create("gone", Settings::default())).unwrap();
    apply(&mut registry, 3, Command::Delete { name: name("gone") }).unwrap();
    assert_eq!(Registry::restore(&registry.snapshot()).unwrap(), registry);
    let commands = [start_move("dead", None), create("gone", dead_letters_to("dead"))];
    for command in commands {
        let text = serde_json::to_string(&command).unwrap();
        let again: Command = serde_json::from_str(&text).unwrap();
        assert_eq!(format!("{again:?}"), format!("{command:?}"));
    }
    let error =
        Registry::restore(b"{\"format\":2,\"registry\":{\"queues\":{},\"erasing\":{},\"moves\":{},\"last_move\":0}}");
    assert!(error.unwrap_err().to_string().contains("format 2 is not known"));
}
