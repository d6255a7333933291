//! A history cut from a recorded storm is allowed; what no correct run could have recorded is not.

use guard_model::replay::Replay;
use serde_json::{Value, json};

const RECORDED: &str = include_str!("recorded.jsonl");

fn recorded() -> Vec<Value> {
    RECORDED
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// The line at which the history is refused, from 1, and why.
fn refused(history: &[Value]) -> (usize, String) {
    let text: Vec<String> = history.iter().map(Value::to_string).collect();
    Replay::default().all(&text.join("\n")).unwrap_err()
}

fn place(history: &[Value], found: impl Fn(&Value) -> bool) -> usize {
    history.iter().position(found).unwrap()
}

fn completion(history: &[Value]) -> usize {
    place(history, |line| line["outcome"] == "completed")
}

fn fence(history: &[Value]) -> usize {
    place(history, |line| line["kind"] == "SlotFenced")
}

fn effects(line: &mut Value) -> &mut Vec<Value> {
    line["caused"].as_array_mut().unwrap()
}

#[test]
fn the_recorded_history_is_allowed() {
    let mut replay = Replay::default();
    let seen = replay.all(RECORDED).unwrap();
    assert_eq!((seen.facts, seen.jobs, seen.ended), (66, 22, 21));
    assert_eq!(replay.unended().count(), 1);
}

#[test]
fn a_second_terminal_event_of_a_slot_is_refused() {
    let mut history = recorded();
    let at = completion(&history);
    let event = history[at]["slot_events"][0].clone();
    history[at]["slot_events"]
        .as_array_mut()
        .unwrap()
        .push(event);
    assert_eq!(refused(&history).0, at + 1);
}

#[test]
fn a_terminal_event_of_the_scheduler_for_a_completed_job_is_refused() {
    let mut history = recorded();
    let at = completion(&history);
    let job = history[at]["job_id"].clone();
    let later = place(&history[at + 1..], |line| line["caused"].is_array()) + at + 1;
    let event = json!({"kind": "event", "event": "Failed", "job_id": job, "attempt": 1});
    effects(&mut history[later]).push(event);
    assert_eq!(refused(&history).0, later + 1);
}

#[test]
fn a_lost_completion_is_refused() {
    let mut history = recorded();
    let at = completion(&history);
    history[at]["slot_events"] = json!([]);
    assert_eq!(refused(&history).0, at + 1);
}

#[test]
fn a_completion_of_another_attempt_is_refused() {
    let mut history = recorded();
    let at = completion(&history);
    history[at]["slot_events"][0]["attempt"] = json!(2);
    assert_eq!(refused(&history).0, at + 1);
}

#[test]
fn an_order_beyond_the_slots_credit_is_refused() {
    let mut history = recorded();
    let first = place(&history, |line| {
        line["caused"].to_string().contains("Assign")
    });
    let next = place(&history[first + 1..], |line| line["kind"] == "Admitted") + first + 1;
    let order = json!({"kind": "Assign", "slot": 0, "n": 2, "job_id": history[next]["job_id"], "attempt": 1});
    effects(&mut history[next]).push(order);
    let (at, why) = refused(&history);
    assert_eq!(at, next + 1);
    assert!(why.contains("Assign"), "{why}");
}

#[test]
fn a_fence_of_another_incarnation_is_refused() {
    let mut history = recorded();
    let at = fence(&history);
    history[at]["incarnation"] = json!("00000000-0000-4000-8000-000000000000");
    let (line, why) = refused(&history);
    assert_eq!(line, at + 1);
    assert!(why.contains("never opened"), "{why}");
}

#[test]
fn a_fence_past_what_was_sent_is_refused() {
    let mut history = recorded();
    let at = fence(&history);
    history[at]["through"] = json!(1_000);
    assert_eq!(refused(&history).0, at + 1);
}

#[test]
fn a_fenced_job_that_nobody_takes_up_is_refused() {
    let mut history = recorded();
    let at = fence(&history);
    effects(&mut history[at]).retain(|effect| effect["event"] != "Retrying");
    let (line, why) = refused(&history);
    assert_eq!(line, at + 1);
    assert!(why.contains("Retrying"), "{why}");
}

#[test]
fn a_retry_under_the_old_attempt_number_is_refused() {
    let mut history = recorded();
    let retried = place(&history, |line| {
        let effects = line["caused"].as_array().into_iter().flatten();
        effects
            .into_iter()
            .any(|effect| effect["kind"] == "Assign" && effect["attempt"] == 2)
    });
    for effect in effects(&mut history[retried]) {
        if effect["attempt"] == 2 && effect["kind"] == "Assign" {
            effect["attempt"] = json!(1);
        }
    }
    assert_eq!(refused(&history).0, retried + 1);
}

#[test]
fn an_end_that_the_scheduler_cannot_take_is_refused() {
    let mut history = recorded();
    let at = completion(&history);
    history[at]["n"] = json!(7);
    assert_eq!(refused(&history).0, at + 1);
}

#[test]
fn facts_out_of_order_and_lines_that_are_none_are_refused() {
    let mut history = recorded();
    history[3]["offset"] = json!(0);
    assert_eq!(refused(&history).0, 4);
    let unknown = json!({"offset": 0, "kind": "Whatever", "slot": 0, "incarnation": "x"});
    assert!(refused(&[unknown]).1.contains("unknown kind"));
    assert_eq!(Replay::default().all("{\"offset\": 1}").unwrap_err().0, 1);
    assert_eq!(Replay::default().all("[1, 2]").unwrap_err().0, 1);
}
