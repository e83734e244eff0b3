//! Takes up what the group gave: collects what the brokers say of the partitions, and decides where each begins. Pure, but
//! for the questions that it names.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use edgereel_crds::{
    frame_sink::{GroupProtocol, OnOffsetLost, StartFrom},
    status::Reason,
};
use rdkafka::error::RDKafkaErrorCode as Code;

use super::{
    Settings,
    earlier::{Earlier, same},
    mark::{Mark, TopicId},
    messages::{Assigned, Begun, TopicPartition},
    native::Element,
    questions::{self, Members, Refused, Topic},
    start::{Facts, First, Start, Why, decide_start},
};
use crate::client::{KafkaFault, Subject};

/// How long it may take altogether, whatever has to be asked again meanwhile.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// How long the group may be between two assignments. It may be waiting for this very member, which cannot join anew
/// before it has taken up, or let go, what it was given.
pub const UNREST: Duration = Duration::from_secs(3);
/// From a refused question to the next try.
const PAUSE: Duration = Duration::from_millis(500);

/// Something to ask the brokers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Question {
    /// The topics' ids and partitions.
    Topics,
    /// The group's offsets.
    Committed,
    /// Where the partitions begin.
    Low,
    /// Where they end.
    High,
    /// Where the time in `startFrom` stands.
    AtTime,
    /// What the group's members have.
    Members,
}

/// What was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// To [`Question::Topics`].
    Topics(Vec<Topic>),
    /// To the questions about offsets.
    Offsets(Vec<Element>),
    /// To [`Question::Members`].
    Members(Members),
}

/// What was decided.
#[derive(Debug, PartialEq, Eq)]
pub enum Decision {
    /// These are read, of so many that the topics have.
    TakeUp(Vec<Begun>, usize),
    /// What the group gave belongs to an earlier subscription: ask it again.
    Rejoin(String),
}

/// Partitions on their way to being read.
#[derive(Debug)]
pub struct TakingUp {
    /// What the group gave.
    pub given: Vec<TopicPartition>,
    since: Instant,
    /// Asked and not answered.
    asked: BTreeMap<u64, Question>,
    answers: BTreeMap<Question, Answer>,
    /// Why a question has to be asked again, and when.
    refused: Option<(KafkaFault, Instant)>,
    /// Since when the group is between two assignments, as far as is known, and until when it was.
    unrest: Option<(Instant, Instant)>,
}

impl TakingUp {
    /// The group gave these, maybe none.
    pub fn new(given: Vec<TopicPartition>, now: Instant) -> Self {
        TakingUp { given, since: now, asked: BTreeMap::new(), answers: BTreeMap::new(), refused: None, unrest: None }
    }

    /// What to ask now. Each gets a number of its own, by which its answer is known.
    pub fn ask(&mut self, settings: &Settings, now: Instant, mut number: impl FnMut() -> u64) -> Vec<(u64, Question)> {
        if self.refused.as_ref().is_some_and(|(_, until)| now < *until) {
            return Vec::new();
        }
        let mut wanted = vec![Question::Topics];
        if !self.given.is_empty() {
            wanted.extend([Question::Committed, Question::Low, Question::High]);
            if matches!(settings.start_from, StartFrom::Timestamp(_)) {
                wanted.push(Question::AtTime);
            }
        }
        if self.topics().is_some_and(|topics| self.asks_for_members(settings, topics)) {
            wanted.push(Question::Members);
        }
        wanted.retain(|question| !self.answers.contains_key(question) && !self.asked.values().any(|q| q == question));
        let numbered: Vec<_> = wanted.into_iter().map(|question| (number(), question)).collect();
        self.asked.extend(numbered.iter().copied());
        numbered
    }

    /// The question that an answer is to, if it is one of these.
    pub fn question(&mut self, number: u64) -> Option<Question> {
        self.asked.remove(&number)
    }

    /// Takes an answer in; an error that lasts is one at once, others are asked again.
    pub fn take(
        &mut self,
        question: Question,
        answer: Result<Answer, Refused>,
        subject: &Subject,
        now: Instant,
    ) -> Result<(), KafkaFault> {
        if let Ok(Answer::Members(members)) = &answer {
            self.unrest = if members.stable { None } else { Some((self.unrest.map_or(now, |(since, _)| since), now)) };
        }
        let refused = match &answer {
            Err((code, words)) => Some((*code, words.clone())),
            Ok(Answer::Offsets(all)) => all.iter().find_map(|e| e.error.map(|code| (code, e.source.to_string()))),
            Ok(Answer::Topics(all)) => {
                all.iter().filter(|topic| !topic.is_missing()).find_map(|topic| topic.error.clone())
            }
            Ok(Answer::Members(members)) => {
                (!members.stable).then(|| (Code::RebalanceInProgress, "the group is being rebalanced".to_owned()))
            }
        };
        match (answer, refused) {
            (_, Some((code, words))) => {
                let fault = subject.code(code, &words);
                if !fault.retriable {
                    return Err(fault);
                }
                self.refused = Some((fault, now + PAUSE));
            }
            (Ok(answer), None) => drop(self.answers.insert(question, answer)),
            (Err(_), None) => {}
        }
        Ok(())
    }

    /// Too late: what to say then.
    pub fn overdue(&self, now: Instant) -> Option<KafkaFault> {
        (now.duration_since(self.since) > PATIENCE).then(|| {
            self.refused.as_ref().map(|(fault, _)| fault.clone()).unwrap_or_else(|| {
                let waits: Vec<_> = self.asked.values().collect();
                let message = format!(
                    "the brokers have not said within {} s where the partitions stand ({waits:?}): look at their load",
                    PATIENCE.as_secs()
                );
                KafkaFault::passing(Reason::KafkaUnreachable, message)
            })
        })
    }

    /// When to look again, if nothing comes.
    pub fn again(&self) -> Option<Instant> {
        self.refused.as_ref().map(|(_, until)| *until)
    }

    /// Why it takes so long, if a broker said so.
    pub fn trouble(&self) -> Option<&KafkaFault> {
        self.refused.as_ref().map(|(fault, _)| fault)
    }

    /// The topics that are not there.
    pub fn missing(&self) -> Vec<String> {
        self.topics().map(|topics| questions::missing(topics)).unwrap_or_default()
    }

    fn topics(&self) -> Option<&Vec<Topic>> {
        match self.answers.get(&Question::Topics) {
            Some(Answer::Topics(topics)) => Some(topics),
            _ => None,
        }
    }

    fn offsets(&self, question: Question) -> Option<&[Element]> {
        match self.answers.get(&question) {
            Some(Answer::Offsets(all)) => Some(all),
            _ => None,
        }
    }

    /// Decides, once everything is known.
    pub fn decide(&self, settings: &Settings, earlier: &Earlier) -> Result<Option<Decision>, KafkaFault> {
        if self.unrest.is_some_and(|(since, until)| until.duration_since(since) >= UNREST) {
            return Ok(Some(Decision::Rejoin("the group is being rebalanced, and waits for this member".into())));
        }
        let Some(topics) = self.topics() else { return Ok(None) };
        let total = total(topics);
        if let Some(stale) = self.foreign(settings, topics) {
            return Ok(Some(Decision::Rejoin(stale)));
        }
        if self.asks_for_members(settings, topics) {
            let Some(Answer::Members(members)) = self.answers.get(&Question::Members) else { return Ok(None) };
            let nobodys: Vec<_> =
                questions::partitions(topics).filter(|source| !members.assigned.contains(source)).collect();
            if let Some(first) = nobodys.first() {
                let message = format!("{first} is nobody's in group {}", settings.group);
                return Ok(Some(Decision::Rejoin(message)));
            }
        }
        if self.given.is_empty() || settings.whole && self.given.len() < total {
            return Ok(Some(Decision::TakeUp(Vec::new(), total)));
        }
        let (Some(committed), Some(low), Some(high)) =
            (self.offsets(Question::Committed), self.offsets(Question::Low), self.offsets(Question::High))
        else {
            return Ok(None);
        };
        let times = self.offsets(Question::AtTime);
        if matches!(settings.start_from, StartFrom::Timestamp(_)) && times.is_none() {
            return Ok(None);
        }
        let known = Known { settings, earlier, topics, committed, low, high, times };
        let begun = self.given.iter().map(|source| known.begin(source)).collect::<Result<Vec<_>, _>>()?;
        Ok(Some(Decision::TakeUp(begun, total)))
    }

    /// Whether it matters what others have: what nobody has may have been left over. Where the group gives by and by, it
    /// matters to whom it gave nothing.
    fn asks_for_members(&self, settings: &Settings, topics: &[Topic]) -> bool {
        match settings.protocol {
            GroupProtocol::Classic => self.given.len() < total(topics),
            GroupProtocol::Consumer => self.given.is_empty(),
        }
    }

    /// What was given and cannot be of the present subscription.
    fn foreign(&self, settings: &Settings, topics: &[Topic]) -> Option<String> {
        let there: BTreeSet<_> = questions::partitions(topics).collect();
        let stale = |source: &&TopicPartition| {
            !settings.topics.iter().any(|topic| **topic == *source.topic) || !there.contains(*source)
        };
        self.given.iter().find(stale).map(|source| format!("{source} is not among the topics that are to be read"))
    }
}

fn total(topics: &[Topic]) -> usize {
    topics.iter().map(|topic| topic.partitions.len()).sum()
}

/// The time in `startFrom`, in Unix milliseconds.
pub fn start_time(settings: &Settings) -> Result<Option<i64>, KafkaFault> {
    let StartFrom::Timestamp(text) = &settings.start_from else { return Ok(None) };
    let time: jiff::Timestamp = text.parse().map_err(|e| {
        KafkaFault::lasting(Reason::InvalidConfiguration, format!("spec.startFrom: `{text}` is not a time: {e}"))
    })?;
    Ok(Some(time.as_millisecond().max(0)))
}

/// Everything that the brokers said.
struct Known<'a> {
    settings: &'a Settings,
    earlier: &'a Earlier,
    topics: &'a [Topic],
    committed: &'a [Element],
    low: &'a [Element],
    high: &'a [Element],
    times: Option<&'a [Element]>,
}

fn of<'e>(all: &'e [Element], source: &TopicPartition) -> Option<&'e Element> {
    all.iter().find(|element| element.source == *source)
}

impl Known<'_> {
    fn begin(&self, source: &TopicPartition) -> Result<Begun, KafkaFault> {
        let Known { settings, .. } = self;
        let missing = |what: &str| {
            KafkaFault::passing(Reason::KafkaUnreachable, format!("{source}: the brokers did not say where it {what}"))
        };
        let low = of(self.low, source).ok_or_else(|| missing("begins"))?.offset;
        let high = of(self.high, source).ok_or_else(|| missing("ends"))?.offset;
        let committed = of(self.committed, source).filter(|element| element.offset >= 0);
        let (committed_mark, state) = committed.map_or((Mark::default(), ""), |e| Mark::split(&e.metadata));
        let topic = self.topics.iter().find(|topic| *topic.name == *source.topic);
        let id: Option<TopicId> = topic.and_then(|topic| topic.id.clone());
        let known = self.earlier.topic(&source.topic);
        let earlier = self.earlier.same_topic(&source.topic, id.as_ref());
        let first = self.first(source, id.as_ref());
        let facts = Facts {
            committed: committed.map(|element| element.offset),
            committed_id: committed_mark.id.clone(),
            id: id.clone(),
            was_read: earlier.is_some_and(|topic| topic.began.contains_key(&source.partition))
                || self.earlier.unnamed && self.is_new_group(),
            earlier_id: known.and_then(|topic| topic.id.clone()),
            added: self.is_added(source, id.as_ref(), first),
            low,
            high,
        };
        let from = match (&settings.start_from, self.times) {
            (StartFrom::Latest, _) => First::Latest,
            (StartFrom::Timestamp(_), Some(times)) => {
                First::At(of(times, source).map(|element| element.offset).filter(|offset| *offset >= 0))
            }
            _ => First::Earliest,
        };
        let (start, lost, why) = match decide_start(&facts, from, settings.on_offset_lost) {
            Start::From { offset, lost, why } => (offset, lost, why),
            Start::Lost(why) => return Err(lost_place(settings, source, &facts, why)),
        };
        if let Some(why) = why {
            let fault = lost_place(settings, source, &facts, why);
            tracing::error!(group = settings.group, "{}; reading goes on at offset {start}", fault.message);
        }
        // A topic made anew begins a life of its own: all its partitions are of its first start.
        let anew = why == Some(Why::MadeAnew);
        let now = topic.map(|topic| topic.partitions.len() as i32);
        let mark = Mark { id, first: if anew { now } else { first.or(now) } };
        let assigned =
            Assigned { source: source.clone(), committed: committed.map(|element| (element.offset, state.to_owned())) };
        let marked = committed.is_some() && mark == committed_mark;
        Ok(Begun { assigned, start, high, lost, mark, marked })
    }

    /// Whether the group has no offset in any of the topics.
    fn is_new_group(&self) -> bool {
        let ours = |element: &&Element| self.settings.topics.iter().any(|topic| **topic == *element.source.topic);
        !self.committed.iter().filter(ours).any(|element| element.offset >= 0)
    }

    /// Whether a partition came after the sink's first start. Where an earlier version began, which kept no count, a single
    /// worker committed all that there were at once.
    fn is_added(&self, source: &TopicPartition, id: Option<&TopicId>, first: Option<i32>) -> bool {
        first.map_or_else(
            || !self.settings.shared && self.marks(source, id).next().is_some(),
            |first| source.partition >= first,
        )
    }

    /// The partitions that the topic had at the sink's first start, where the group or the sink's folder knows.
    fn first(&self, source: &TopicPartition, id: Option<&TopicId>) -> Option<i32> {
        let marked = self.marks(source, id).find_map(|mark| mark.first);
        marked.or_else(|| self.earlier.same_topic(&source.topic, id).and_then(|topic| topic.first))
    }

    /// What the group has committed of this partition's topic, and not of a former one of its name.
    fn marks(&self, source: &TopicPartition, id: Option<&TopicId>) -> impl Iterator<Item = Mark> {
        let of_topic = self.committed.iter().filter(|e| e.source.topic == source.topic && e.offset >= 0);
        of_topic.map(|element| Mark::split(&element.metadata).0).filter(move |mark| same(mark.id.as_ref(), id))
    }
}

/// Says what happened to a place, and what to do.
fn lost_place(settings: &Settings, source: &TopicPartition, facts: &Facts, why: Why) -> KafkaFault {
    let Settings { group, .. } = settings;
    let holds = format!("the topic holds {} to {}", facts.low, facts.high);
    let next = facts.committed.unwrap_or_default();
    let what = match why {
        Why::Cut => format!(
            "group {group} is to go on at offset {next}, but {holds}: retention deleted records before they were read"
        ),
        Why::Beyond => format!(
            "group {group} is to go on at offset {next}, but {holds}: the topic was made anew, or its broker lost records"
        ),
        Why::MadeAnew => {
            let id = |id: &Option<TopicId>| id.as_ref().map_or_else(|| "unknown".to_owned(), ToString::to_string);
            let former = facts.committed_id.as_ref().or(facts.earlier_id.as_ref()).cloned();
            let offset = match facts.committed {
                Some(next) => format!("offset {next} of group {group} is one of the former topic"),
                None => format!("group {group} has no offset in it"),
            };
            format!("the topic was made anew (its id was {}, and is {}): {offset}; {holds}", id(&former), id(&facts.id))
        }
        Why::Forgotten => format!(
            "group {group} has no offset, though this sink has read it before (its folder below .edgereel says so): the \
             group's offsets were deleted or have expired; {holds}"
        ),
    };
    let remedy = match settings.on_offset_lost {
        OnOffsetLost::Fail => "; set spec.onOffsetLost to `earliest` or `latest` to go on with what is there",
        OnOffsetLost::Earliest | OnOffsetLost::Latest => "",
    };
    KafkaFault::lasting(Reason::OffsetLost, format!("{source}: {what}{remedy}"))
}

#[cfg(test)]
mod tests;
