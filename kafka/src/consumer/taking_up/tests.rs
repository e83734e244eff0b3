use std::sync::{Arc, Mutex};

use edgereel_crds::{KafkaConnectionSpec, name::ObjectName, plan::Connection};
use proptest::prelude::*;

use super::{super::earlier::EarlierTopic, *};

fn settings(topics: &[&str], shared: bool) -> Settings {
    Settings {
        topics: topics.iter().map(ToString::to_string).collect(),
        group: "g".into(),
        instance: "i".into(),
        start_from: StartFrom::Latest,
        protocol: GroupProtocol::Classic,
        on_offset_lost: OnOffsetLost::Fail,
        earlier: Arc::new(Mutex::default()),
        shared,
        whole: false,
        memory: 1 << 20,
    }
}

fn subject() -> Subject {
    let spec: KafkaConnectionSpec = serde_json::from_str(r#"{"bootstrapServers": ["kafka:9092"]}"#).unwrap();
    Subject::new(&Connection { name: ObjectName { namespace: "lab".into(), name: "local".into() }, spec })
}

fn source(topic: &str, partition: i32) -> TopicPartition {
    TopicPartition { topic: topic.into(), partition }
}

fn element(topic: &str, partition: i32, offset: i64) -> Element {
    Element { source: source(topic, partition), offset, metadata: String::new(), error: None }
}

fn topic(name: &str, partitions: i32) -> Topic {
    let id = Some(TopicId::new(format!("id-of-{name}")));
    Topic { name: name.into(), id, partitions: (0..partitions).map(|n| (n, true)).collect(), error: None }
}

/// Asks, and gives each question its answer.
fn answer_all(taking: &mut TakingUp, settings: &Settings, now: Instant, answer: impl Fn(Question) -> Answer) {
    let mut number = 0;
    loop {
        let asked = taking.ask(settings, now, || {
            number += 1;
            number
        });
        if asked.is_empty() {
            return;
        }
        for (number, question) in asked {
            assert_eq!(taking.question(number), Some(question));
            taking.take(question, Ok(answer(question)), &subject(), now).unwrap();
        }
    }
}

/// Two topics of three partitions, each holding 10 to 20.
fn usual(question: Question, committed: &[Element], assigned: &[TopicPartition]) -> Answer {
    let every =
        |offset| ["a", "b"].iter().flat_map(|topic| (0..3).map(move |n| element(topic, n, offset))).collect::<Vec<_>>();
    match question {
        Question::Topics => Answer::Topics(vec![topic("a", 3), topic("b", 3)]),
        Question::Committed => Answer::Offsets(committed.to_vec()),
        Question::Low => Answer::Offsets(every(10)),
        Question::High => Answer::Offsets(every(20)),
        Question::AtTime => Answer::Offsets(every(15)),
        Question::Members => Answer::Members(Members { stable: true, assigned: assigned.iter().cloned().collect() }),
    }
}

fn all() -> Vec<TopicPartition> {
    ["a", "b"].iter().flat_map(|topic| (0..3).map(move |n| source(topic, n))).collect()
}

fn decide(
    given: Vec<TopicPartition>,
    settings: &Settings,
    committed: &[Element],
    assigned: &[TopicPartition],
) -> Decision {
    let mut taking = TakingUp::new(given, Instant::now());
    answer_all(&mut taking, settings, Instant::now(), |question| usual(question, committed, assigned));
    let earlier = settings.earlier.lock().unwrap().clone();
    taking.decide(settings, &earlier).unwrap().expect("everything is known")
}

#[test]
fn one_question_of_each_kind_is_enough_for_all_partitions() {
    let settings = settings(&["a", "b"], false);
    let mut taking = TakingUp::new(all(), Instant::now());
    let mut number = 0;
    let asked = taking.ask(&settings, Instant::now(), || {
        number += 1;
        number
    });
    assert_eq!(asked.len(), 4, "{asked:?}");
    assert!(taking.ask(&settings, Instant::now(), || unreachable!()).is_empty(), "and it is not asked twice");
}

#[test]
fn everything_begins_at_the_first_start_and_goes_on_after_it() {
    let settings = settings(&["a", "b"], false);
    let Decision::TakeUp(begun, 6) = decide(all(), &settings, &[], &[]) else { panic!("taken up") };
    assert!(begun.iter().all(|b| b.start == 20 && b.mark.first == Some(3) && !b.marked), "{begun:?}");
    let mark = Mark { id: Some(TopicId::new("id-of-a")), first: Some(3) };
    let committed = Element { metadata: mark.with("state"), ..element("a", 1, 12) };
    let Decision::TakeUp(begun, _) = decide(all(), &settings, &[committed], &[]) else { panic!("taken up") };
    let one = begun.iter().find(|b| b.assigned.source == source("a", 1)).unwrap();
    assert_eq!((one.start, one.marked, one.assigned.committed.clone()), (12, true, Some((12, "state".into()))));
}

#[test]
fn what_belongs_to_an_earlier_subscription_is_not_taken_up() {
    // A topic that left the list, and partitions that nobody has though the group is at rest.
    assert!(matches!(decide(all(), &settings(&["a"], false), &[], &[]), Decision::Rejoin(_)));
    let given: Vec<_> = all().into_iter().filter(|p| &*p.topic == "a").collect();
    assert!(matches!(decide(given.clone(), &settings(&["a", "b"], false), &[], &given), Decision::Rejoin(_)));
    // Another member has the rest: that is how it is to be.
    assert!(matches!(decide(given, &settings(&["a", "b"], true), &[], &all()), Decision::TakeUp(..)));
}

#[test]
fn a_partition_that_came_after_the_first_start_is_read_from_its_beginning() {
    let settings = settings(&["a", "b"], true);
    let mark = Mark { id: Some(TopicId::new("id-of-a")), first: Some(2) };
    let committed = [0, 1].map(|n| Element { metadata: mark.with(""), ..element("a", n, 15) });
    let Decision::TakeUp(begun, _) = decide(all(), &settings, &committed, &[]) else { panic!("taken up") };
    let start = |topic: &str, n| begun.iter().find(|b| b.assigned.source == source(topic, n)).unwrap().start;
    assert_eq!([start("a", 0), start("a", 1), start("a", 2)], [15, 15, 10]);
    assert_eq!(start("b", 2), 20, "of a topic that it has never read");
}

#[test]
fn a_partition_that_was_added_to_a_topic_made_anew_has_no_past_in_the_former_one() {
    // Another worker reads the new topic already; this one's memory is of the former.
    let mut settings = settings(&["a", "b"], true);
    settings.on_offset_lost = OnOffsetLost::Latest;
    let began = [(1, 0), (2, 0)].into();
    let read = EarlierTopic { id: Some(TopicId::new("former")), first: Some(3), began, ..EarlierTopic::default() };
    settings.earlier.lock().unwrap().topics.insert("a".into(), read);
    let mark = Mark { id: Some(TopicId::new("id-of-a")), first: Some(1) };
    let committed = [Element { metadata: mark.with(""), ..element("a", 0, 15) }];
    let Decision::TakeUp(begun, _) = decide(all(), &settings, &committed, &[]) else { panic!("taken up") };
    let start = |n| begun.iter().find(|b| b.assigned.source == source("a", n)).unwrap().start;
    assert_eq!([start(0), start(1), start(2)], [15, 10, 10]);
    // Where nobody has read the new one, it is `onOffsetLost`'s matter.
    let Decision::TakeUp(begun, _) = decide(all(), &settings, &[], &[]) else { panic!("taken up") };
    assert!(begun.iter().filter(|b| &*b.assigned.source.topic == "a").all(|b| b.start == 20 && b.lost == 10));
}

#[test]
fn a_sink_that_has_written_and_noted_nothing_does_not_begin_again_where_its_group_has_no_offsets() {
    let mut settings = settings(&["a", "b"], false);
    settings.earlier.lock().unwrap().unnamed = true;
    let mut taking = TakingUp::new(all(), Instant::now());
    answer_all(&mut taking, &settings, Instant::now(), |question| usual(question, &[], &[]));
    let earlier = settings.earlier.lock().unwrap().clone();
    let fault = taking.decide(&settings, &earlier).unwrap_err();
    assert_eq!(fault.reason, Reason::OffsetLost);
    // With offsets of an earlier version it goes on, and a person may have it begin.
    assert!(matches!(decide(all(), &settings, &[element("a", 0, 15)], &[]), Decision::TakeUp(..)));
    settings.on_offset_lost = OnOffsetLost::Earliest;
    assert!(matches!(decide(all(), &settings, &[], &[]), Decision::TakeUp(..)));
}

#[test]
fn a_refused_question_is_asked_again_after_a_pause_and_not_for_ever() {
    let settings = settings(&["a", "b"], false);
    let began = Instant::now();
    let mut taking = TakingUp::new(all(), began);
    let mut number = 0;
    let mut next = || {
        number += 1;
        number
    };
    for (number, question) in taking.ask(&settings, began, &mut next) {
        taking.question(number);
        let refused = (Code::LeaderNotAvailable, "no leader".to_owned());
        taking.take(question, Err(refused), &subject(), began).unwrap();
    }
    assert!(taking.trouble().is_some_and(|fault| fault.message.contains("no leader")));
    assert!(taking.ask(&settings, began, &mut next).is_empty());
    assert_eq!(taking.ask(&settings, taking.again().unwrap(), &mut next).len(), 4);
    assert!(taking.overdue(began + PATIENCE).is_none());
    let fault = taking.overdue(began + 2 * PATIENCE).expect("it has an end");
    assert!(fault.message.contains("no leader"), "{fault}");
}

#[test]
fn a_group_that_waits_for_this_member_gets_its_part_back() {
    let settings = settings(&["a", "b"], true);
    let given: Vec<_> = all().into_iter().filter(|p| &*p.topic == "a").collect();
    let began = Instant::now();
    let mut taking = TakingUp::new(given, began);
    answer_all(&mut taking, &settings, began, |question| usual(question, &[], &all()));
    let unrest = |at: Duration, taking: &mut TakingUp, stable| {
        let members = Members { stable, assigned: all().into_iter().collect() };
        taking.take(Question::Members, Ok(Answer::Members(members)), &subject(), began + at).unwrap();
        taking.decide(&settings, &Earlier::default()).unwrap()
    };
    taking.answers.remove(&Question::Members);
    assert_eq!(unrest(Duration::ZERO, &mut taking, false), None, "it may be over in a moment");
    assert_eq!(unrest(UNREST / 2, &mut taking, false), None);
    assert!(matches!(unrest(UNREST, &mut taking, false), Some(Decision::Rejoin(_))));
    assert!(matches!(unrest(UNREST, &mut taking, true), Some(Decision::TakeUp(..))));
}

#[test]
fn a_right_that_is_missing_is_a_fault_at_once() {
    let mut taking = TakingUp::new(all(), Instant::now());
    let refused = Err((Code::GroupAuthorizationFailed, String::new()));
    let fault = taking.take(Question::Committed, refused, &subject(), Instant::now()).unwrap_err();
    assert_eq!(fault.reason, Reason::KafkaUnauthorized);
}

proptest! {
    /// Whatever is answered or refused, in whatever order and however late: it always asks for something, waits for an answer
    /// that has not come, decides, fails, or is overdue.
    #[test]
    fn it_never_waits_for_nothing(steps in prop::collection::vec((any::<bool>(), 0u64..3000, any::<prop::sample::Index>()), 0..60)) {
        let settings = settings(&["a", "b"], false);
        let mut now = Instant::now();
        let mut taking = TakingUp::new(all(), now);
        let (mut number, mut open) = (0, Vec::new());
        for (good, pause, which) in steps {
            now += Duration::from_millis(pause);
            open.extend(taking.ask(&settings, now, || { number += 1; number }));
            if taking.overdue(now).is_some() || taking.decide(&settings, &Earlier::default()).is_ok_and(|d| d.is_some()) {
                return Ok(());
            }
            if open.is_empty() {
                prop_assert!(taking.again().is_some_and(|again| again > now), "stuck");
                continue;
            }
            let (number, question) = open.swap_remove(which.index(open.len()));
            prop_assert_eq!(taking.question(number), Some(question));
            let answer = if good { Ok(usual(question, &[], &[])) } else { Err((Code::NotCoordinator, String::new())) };
            taking.take(question, answer, &subject(), now).unwrap();
        }
        prop_assert!(taking.overdue(now + 2 * PATIENCE).is_some());
    }
}
