//! `guard-model check`, `guard-model bugs`, `guard-model replay FILE`.

use std::process::ExitCode;
use std::time::Instant;

use guard_model::bugs::Bug;
use guard_model::faults::{Left, NAMES};
use guard_model::properties::{Explored, explore};
use guard_model::protocol::Protocol;
use guard_model::replay::Replay;

const HELP: &str = "\
guard-model check [--slots N] [--jobs N] [--BUDGET N ...] [--total N] [--collector] [--bug NAME]
                  [--threads N] [--minutes N]
    explores every state within the bounds; exit 1 when a property is violated, 2 when time ran out
    BUDGET: crashes splits suspicions net store repeats cancels failures recreations losses
    --total: faults of all kinds together; the sum of the budgets if it is left out
guard-model replay FILE [--ended]
    a recorded history through the model's transitions; exit 1 at the first line it does not allow
    --ended: every job has to have ended
guard-model bugs
    the protocol bugs that can be switched on";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let told = match args.first().map(String::as_str) {
        Some("check") => check(&args[1..]),
        Some("replay") => replay(&args[1..]),
        Some("bugs") => {
            Bug::ALL.iter().for_each(|bug| println!("{}", bug.name()));
            Ok(ExitCode::SUCCESS)
        }
        _ => Err(HELP.to_owned()),
    };
    told.unwrap_or_else(|why| {
        eprintln!("{why}");
        ExitCode::FAILURE
    })
}

fn option<T: std::str::FromStr>(args: &[String], name: &str) -> Result<Option<T>, String> {
    let Some(at) = args.iter().position(|arg| *arg == format!("--{name}")) else {
        return Ok(None);
    };
    let value = args.get(at + 1).and_then(|value| value.parse().ok());
    value
        .map(Some)
        .ok_or_else(|| format!("--{name} needs a value\n{HELP}"))
}

fn protocol(args: &[String]) -> Result<Protocol, String> {
    let (slots, jobs) = (
        option(args, "slots")?.unwrap_or(2),
        option(args, "jobs")?.unwrap_or(2),
    );
    let mut protocol = Protocol::new(slots, jobs);
    for (name, fault) in NAMES {
        protocol.left = protocol.left.with(fault, option(args, name)?.unwrap_or(0));
    }
    if let Some(total) = option(args, "total")? {
        protocol.left = Left::at_most(protocol.left, total);
    }
    protocol.collector = args.iter().any(|arg| arg == "--collector");
    if let Some(name) = option::<String>(args, "bug")? {
        let found = Bug::ALL.into_iter().find(|bug| bug.name() == name);
        protocol.bug = Some(found.ok_or_else(|| format!("no bug {name:?}; see guard-model bugs"))?);
    }
    Ok(protocol)
}

fn check(args: &[String]) -> Result<ExitCode, String> {
    let protocol = protocol(args)?;
    let minutes: u64 = option(args, "minutes")?.unwrap_or(20);
    let threads = option(args, "threads")?.unwrap_or(2);
    let began = Instant::now();
    let limit = std::time::Duration::from_secs(minutes * 60);
    let found = explore(protocol, threads, limit);
    let Explored {
        states,
        transitions,
        depth,
        ..
    } = found;
    let seconds = began.elapsed().as_secs_f64();
    println!("{states} states ({transitions} transitions), depth {depth}, {seconds:.1} s");
    if let Some((property, way)) = found.violated {
        println!("violated: {property}");
        for action in way {
            println!("    {action:?}");
        }
        return Ok(ExitCode::FAILURE);
    }
    if began.elapsed() >= limit {
        println!("not exhaustive: {minutes} minutes are over");
        return Ok(ExitCode::from(2));
    }
    println!("every property holds in every state");
    Ok(ExitCode::SUCCESS)
}

fn replay(args: &[String]) -> Result<ExitCode, String> {
    let path = args.first().ok_or(HELP)?;
    let text = std::fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?;
    let mut replay = Replay::default();
    let seen = replay
        .all(&text)
        .map_err(|(line, why)| format!("{path}:{line}: {why}"))?;
    println!(
        "{} facts, {} jobs, {} ended: every step is allowed",
        seen.facts, seen.jobs, seen.ended
    );
    if args.iter().any(|arg| arg == "--ended")
        && let Some(job) = replay.unended().next()
    {
        return Err(format!("{path}: job {job} has not ended"));
    }
    Ok(ExitCode::SUCCESS)
}
