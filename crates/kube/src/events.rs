//! Events on the users' objects: the same thing said again counts up, and no object is flooded.

use std::collections::BTreeMap;
use std::time::Duration;

use gatehouse_api::ObjectRef;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::{Event, EventSeries};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use crate::api::{Api, ResourceType, Target};
use crate::error::{Cause, Error};
use crate::health::Health;
use crate::kinds;
use crate::leader::Leadership;
use crate::status::Budget;

const EVENTS: ResourceType = ResourceType { group: "events.k8s.io", version: "v1", plural: "events" };
const SUBJECT: &str = "events";
/// Said again within this time, it is the same event.
const SAME: Duration = Duration::from_mins(6);
/// The API server keeps at most so many bytes of a note.
const NOTE: usize = 1024;
/// Objects that are remembered at most; beyond, the memory starts over.
const REMEMBERED: usize = 4096;

/// How much an event matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// `Normal`
    Normal,
    /// `Warning`: the user should act.
    Warning,
}

/// Something to tell a user.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Note {
    /// Whose event it is; must be of a kind with a status.
    pub object: ObjectRef,
    /// How much it matters.
    pub severity: Severity,
    /// One word for machines, such as `RefusedByProxy`.
    pub reason: String,
    /// What we did or tried to do, in one word, such as `Program`.
    pub action: String,
    /// What happened and what to do.
    pub text: String,
}

/// Records events while we lead. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Events {
    notes: mpsc::Sender<Note>,
}

impl Events {
    /// Starts on the current runtime. `controller` is our name among controllers, `instance` the pod's.
    pub fn start(
        api: Api,
        controller: &str,
        instance: &str,
        leadership: watch::Receiver<Leadership>,
        health: Health,
    ) -> Self {
        let (notes, inbox) = mpsc::channel(256);
        let recorder = Recorder {
            api,
            controller: controller.to_owned(),
            instance: instance.to_owned(),
            health,
            memory: Memory::default(),
            started: Instant::now(),
        };
        tokio::spawn(recorder.run(inbox, leadership));
        Self { notes }
    }

    /// Hands in a note. Never waits: when too many are under way it is dropped, as events are best effort by nature.
    pub fn record(&self, note: Note) {
        if let Err(error) = self.notes.try_send(note) {
            tracing::debug!(%error, "an event is dropped");
        }
    }
}

/// What to do with a note.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Verdict {
    /// It is new.
    Create,
    /// It was said before by the event of this name, which now counts this many.
    Count(String, i32),
    /// There were too many of this object.
    Drop,
}

#[derive(Debug)]
struct Said {
    event: String,
    count: i32,
    last: Duration,
}

/// What was said of an object.
#[derive(Debug)]
struct About {
    budget: Budget,
    notes: BTreeMap<Note, Said>,
}

/// What was said of all objects. Pure; the clock is given.
#[derive(Debug, Default)]
struct Memory {
    objects: BTreeMap<ObjectRef, About>,
}

impl Memory {
    fn judge(&mut self, note: &Note, now: Duration) -> Verdict {
        if self.objects.len() >= REMEMBERED && !self.objects.contains_key(&note.object) {
            self.objects.clear();
        }
        // Ten at once, then two a minute.
        let fresh = || About { budget: Budget::every(Duration::from_secs(30), 10), notes: BTreeMap::new() };
        let about = self.objects.entry(note.object.clone()).or_insert_with(fresh);
        about.notes.retain(|_, said| now.saturating_sub(said.last) < SAME);
        if about.budget.take(now).is_err() {
            return Verdict::Drop;
        }
        match about.notes.get_mut(note) {
            Some(said) => {
                said.count += 1;
                said.last = now;
                Verdict::Count(said.event.clone(), said.count)
            }
            None => Verdict::Create,
        }
    }

    fn said(&mut self, note: Note, event: String, now: Duration) {
        if let Some(about) = self.objects.get_mut(&note.object) {
            about.notes.insert(note, Said { event, count: 1, last: now });
        }
    }

    fn forget(&mut self, note: &Note) {
        if let Some(about) = self.objects.get_mut(&note.object) {
            about.notes.remove(note);
        }
    }
}

struct Recorder {
    api: Api,
    controller: String,
    instance: String,
    health: Health,
    memory: Memory,
    started: Instant,
}

impl Recorder {
    async fn run(mut self, mut inbox: mpsc::Receiver<Note>, leadership: watch::Receiver<Leadership>) {
        while let Some(note) = inbox.recv().await {
            if !leadership.borrow().is_leader() {
                continue;
            }
            match self.record(note).await {
                Ok(()) => self.health.clear(SUBJECT),
                Err(error) if matches!(error.cause, Cause::Forbidden { .. }) => {
                    self.health.report(SUBJECT, error.to_string());
                }
                Err(error) => tracing::debug!(%error, "an event is lost"),
            }
        }
    }

    async fn record(&mut self, note: Note) -> Result<(), Error> {
        let now = self.started.elapsed();
        match self.memory.judge(&note, now) {
            Verdict::Drop => Ok(()),
            Verdict::Create => self.create(note, now).await,
            Verdict::Count(event, count) => match self.count(&note, &event, count).await {
                // The API server forgets events after an hour.
                Err(Error { cause: Cause::NotFound, .. }) => {
                    self.memory.forget(&note);
                    self.create(note, now).await
                }
                result => result,
            },
        }
    }

    async fn create(&mut self, note: Note, now: Duration) -> Result<(), Error> {
        let Some(regarding) = self.regarding(&note.object).await? else { return Ok(()) };
        let time = Timestamp::now();
        let name = format!("{}.{:x}", note.object.name, time.as_nanosecond());
        let event = Event {
            metadata: ObjectMeta {
                name: Some(name.clone()),
                namespace: Some(namespace(&note.object).to_owned()),
                ..ObjectMeta::default()
            },
            event_time: Some(MicroTime(time)),
            reporting_controller: Some(self.controller.clone()),
            reporting_instance: Some(self.instance.clone()),
            action: Some(note.action.clone()),
            reason: Some(note.reason.clone()),
            regarding: Some(regarding),
            note: Some(shorten(&note.text).to_owned()),
            type_: Some(if note.severity == Severity::Warning { "Warning" } else { "Normal" }.to_owned()),
            ..Event::default()
        };
        self.api.create::<Value>(&Target::all(EVENTS, namespace(&note.object)), &event).await?;
        self.memory.said(note, name, now);
        Ok(())
    }

    async fn count(&self, note: &Note, event: &str, count: i32) -> Result<(), Error> {
        let series = EventSeries { count, last_observed_time: MicroTime(Timestamp::now()) };
        let target = Target::one(EVENTS, namespace(&note.object), event);
        self.api.patch::<Value>(&target, &json!({ "series": series })).await.map(|_| ())
    }

    /// The object with its UID, without which `kubectl describe` does not find its events.
    async fn regarding(&self, object: &ObjectRef) -> Result<Option<ObjectReference>, Error> {
        let Some(kind) = kinds::with_status(&object.group, &object.kind) else { return Ok(None) };
        let resource = kind.resource(kind.versions[0]);
        let live: Value = match self.api.get(&Target::one(resource, &object.namespace, &object.name)).await {
            Ok(live) => live,
            Err(Error { cause: Cause::NotFound, .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let text = |value: &Value| value.as_str().map(str::to_owned);
        Ok(Some(ObjectReference {
            api_version: Some(format!("{}/{}", resource.group, resource.version)),
            kind: Some(object.kind.clone()),
            name: Some(object.name.clone()),
            namespace: Some(object.namespace.clone()).filter(|namespace| !namespace.is_empty()),
            uid: text(&live["metadata"]["uid"]),
            resource_version: text(&live["metadata"]["resourceVersion"]),
            ..ObjectReference::default()
        }))
    }
}

/// Where an object's events stand.
fn namespace(object: &ObjectRef) -> &str {
    if object.namespace.is_empty() { "default" } else { &object.namespace }
}

fn shorten(note: &str) -> &str {
    let end = (0..=NOTE.min(note.len())).rev().find(|end| note.is_char_boundary(*end));
    &note[..end.unwrap_or_default()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(name: &str, text: &str) -> Note {
        Note {
            object: ObjectRef {
                group: "gateway.networking.k8s.io".into(),
                kind: "HTTPRoute".into(),
                namespace: "a".into(),
                name: name.into(),
            },
            severity: Severity::Warning,
            reason: "RefusedByProxy".into(),
            action: "Program".into(),
            text: text.into(),
        }
    }

    #[test]
    fn same_note_counts_up_until_it_has_been_quiet_for_a_while() {
        let mut memory = Memory::default();
        let note = note("r", "x");
        assert_eq!(memory.judge(&note, Duration::ZERO), Verdict::Create);
        memory.said(note.clone(), "r.1".into(), Duration::ZERO);
        assert_eq!(memory.judge(&note, Duration::from_mins(1)), Verdict::Count("r.1".into(), 2));
        assert_eq!(memory.judge(&note, Duration::from_secs(1000)), Verdict::Create);
    }

    #[test]
    fn one_object_that_is_noisy_is_silenced_and_no_other() {
        let mut memory = Memory::default();
        let verdicts: Vec<_> =
            (0..11).map(|i| memory.judge(&note("noisy", &i.to_string()), Duration::ZERO)).collect();
        assert_eq!(verdicts.iter().filter(|verdict| **verdict == Verdict::Drop).count(), 1);
        assert_eq!(memory.judge(&note("quiet", "x"), Duration::ZERO), Verdict::Create);
    }

    #[test]
    fn long_note_is_cut_between_characters() {
        let text = "é".repeat(NOTE);
        assert_eq!(shorten(&text).len(), NOTE);
        assert_eq!(shorten(&format!("a{text}")).len(), NOTE - 1);
        assert_eq!(shorten("short"), "short");
    }
}
