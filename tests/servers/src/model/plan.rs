//! Chooses the answer to a request: the rule, its turn, and the fault that befalls it.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use serde_json::{Value, json};

use super::ask::Ask;
use super::fault::{Fault, FaultKind};
use super::script::{Answer, Block, Keys, Script, StopReason, Turn, Usage, When};

/// What every echoed answer begins with.
pub const ECHO_PREFIX: &str = "echo:";

/// What an answer begins with that quotes the result of a tool.
pub const TOOL_PREFIX: &str = "tool: ";

/// A script and how far it has got.
#[derive(Debug)]
pub(super) struct Planner {
    script: Script,
    progress: Mutex<Progress>,
}

#[derive(Debug, Default)]
struct Progress {
    /// Requests answered, without those that a fault spoilt.
    answered: u64,
    /// How often each fault has struck.
    struck: HashMap<Place, u32>,
}

/// Where in a script a fault stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Place {
    /// Among the faults of any request.
    Script(usize),
    /// In a turn of a rule; the rule after the last is [`Script::otherwise`].
    Turn(usize, usize),
}

/// The answer to one request.
#[derive(Debug, PartialEq)]
pub(super) struct Plan {
    /// What the model says, with the placeholders filled.
    pub(super) blocks: Vec<Block>,
    /// Why it stops.
    pub(super) stop: StopReason,
    /// What it is said to cost, when the script says so.
    pub(super) usage: Option<Usage>,
    /// What goes wrong.
    pub(super) fault: Option<FaultKind>,
}

impl Planner {
    /// A planner at the beginning of this script.
    pub(super) fn new(script: Script) -> Self {
        Self { script, progress: Mutex::default() }
    }

    /// The credentials that are accepted.
    pub(super) fn keys(&self) -> &Keys {
        &self.script.keys
    }

    /// The answer to this request.
    pub(super) fn plan(&self, ask: &Ask) -> Plan {
        let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        let number = progress.answered + 1;
        let (rule, answer) = self.answer(ask, number);
        let (step, turn) = match answer {
            Answer::Echo => (0, Turn::text(&echo(&ask.text))),
            Answer::Tool => (0, tool(ask)),
            Answer::Turns(turns) => last_at_most(turns, ask.steps),
        };
        let scripted = self.script.faults.iter().enumerate();
        let fault = scripted
            .map(|(index, fault)| (Place::Script(index), fault))
            .chain(turn.fault.iter().map(|fault| (Place::Turn(rule, step), fault)))
            .find_map(|(place, fault)| progress.strike(place, fault));
        if !fault.as_ref().is_some_and(FaultKind::spoils) {
            progress.answered = number;
        }
        let calls = turn.blocks.iter().any(|block| matches!(block, Block::ToolUse { .. }));
        let usual = if calls { StopReason::ToolUse } else { StopReason::EndTurn };
        // What was said by a person is quoted as it is: only a script's own text has placeholders.
        let blocks = match answer {
            Answer::Turns(_) => turn.blocks.into_iter().map(|b| fill(b, ask, number)).collect(),
            Answer::Echo | Answer::Tool => turn.blocks,
        };
        Plan { blocks, stop: turn.stop.unwrap_or(usual), usage: turn.usage, fault }
    }

    fn answer(&self, ask: &Ask, number: u64) -> (usize, &Answer) {
        let rules = self.script.rules.iter().enumerate();
        rules
            .filter(|(_, rule)| rule.when.fits(&ask.text, number))
            .map(|(index, rule)| (index, &rule.answer))
            .next()
            .unwrap_or((self.script.rules.len(), &self.script.otherwise))
    }
}

impl Progress {
    /// The fault, if it has not struck often enough yet.
    fn strike(&mut self, place: Place, fault: &Fault) -> Option<FaultKind> {
        let struck = self.struck.entry(place).or_default();
        if fault.first.is_some_and(|first| *struck >= first) {
            return None;
        }
        *struck = struck.saturating_add(1);
        Some(fault.kind.clone())
    }
}

impl When {
    fn fits(&self, text: &str, number: u64) -> bool {
        match self {
            Self::Any => true,
            Self::Contains(part) => text.contains(part),
            Self::Glob(pattern) => glob(pattern, text),
            Self::Request(n) => *n == number,
        }
    }
}

fn last_at_most(turns: &[Turn], step: usize) -> (usize, Turn) {
    let step = step.min(turns.len().saturating_sub(1));
    (step, turns.get(step).cloned().unwrap_or_default())
}

fn echo(text: &str) -> String {
    directives(text, "[[id:").fold(ECHO_PREFIX.to_owned(), |said, id| format!("{said} [[id:{id}]]"))
}

/// Every `[[id:…]]` that waits for an answer, once and after a space, but those that were named already.
fn unanswered(ask: &Ask, named: &str) -> String {
    let mut ids: Vec<&str> = Vec::new();
    let known: Vec<&str> = directives(named, "[[id:").collect();
    for id in directives(&ask.unanswered, "[[id:") {
        if !ids.contains(&id) && !known.contains(&id) {
            ids.push(id);
        }
    }
    ids.iter().map(|id| format!(" [[id:{id}]]")).collect()
}

fn tool(ask: &Ask) -> Turn {
    match (directives(&ask.text, "[[bash:").nth(ask.steps), ask.tool_results.last()) {
        (Some(command), _) => Turn::tool("bash", json!({ "command": command })),
        (None, Some(result)) => Turn::text(&format!("{TOOL_PREFIX}{result}")),
        (None, None) => Turn::text(&echo(&ask.text)),
    }
}

/// What stands between this opening and the next `]]`, each time.
fn directives<'a>(text: &'a str, open: &'a str) -> impl Iterator<Item = &'a str> {
    text.split(open).skip(1).filter_map(|rest| Some(rest.split_once("]]")?.0))
}

/// Whether the whole text fits a pattern of `*` and `?`.
fn glob(pattern: &str, text: &str) -> bool {
    // `reached[i]`: the text so far fits the first `i` characters of the pattern.
    let pattern: Vec<char> = pattern.chars().collect();
    let mut reached = vec![true];
    reached.extend(pattern.iter().scan(true, |stars, &c| {
        *stars &= c == '*';
        Some(*stars)
    }));
    for c in text.chars() {
        let mut next = vec![false];
        for (&wanted, pair) in pattern.iter().zip(reached.windows(2)) {
            let (before, here) = (pair.first() == Some(&true), pair.last() == Some(&true));
            let skipped = next.last() == Some(&true);
            next.push(if wanted == '*' {
                here || skipped
            } else {
                before && (wanted == '?' || wanted == c)
            });
        }
        reached = next;
    }
    reached.last() == Some(&true)
}

/// Fills the placeholders of a block.
fn fill(block: Block, ask: &Ask, number: u64) -> Block {
    match block {
        Block::Text(text) => Block::Text(fill_text(&text, ask, number)),
        Block::ToolUse { name, input } => {
            Block::ToolUse { name, input: fill_input(input, ask, number) }
        }
    }
}

/// Fills the placeholders of a tool's arguments, where they are strings.
fn fill_input(input: Value, ask: &Ask, number: u64) -> Value {
    match input {
        Value::String(text) => fill_text(&text, ask, number).into(),
        Value::Array(items) => {
            items.into_iter().map(|item| fill_input(item, ask, number)).collect()
        }
        Value::Object(fields) => {
            fields.into_iter().map(|(name, value)| (name, fill_input(value, ask, number))).collect()
        }
        other => other,
    }
}

/// Fills the placeholders of a text, once: what is filled in is not looked at again.
fn fill_text(text: &str, ask: &Ask, number: u64) -> String {
    let mut filled = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        filled.push_str(before);
        let placeholder = after.split_once('}').and_then(|(name, then)| {
            let value = match name {
                "last_user" => ask.text.clone(),
                "unanswered" => unanswered(ask, ""),
                "new" => unanswered(ask, &ask.called),
                "tool_result" => ask.tool_results.last().cloned().unwrap_or_default(),
                "system" => ask.system.clone(),
                "model" => ask.model.clone(),
                "tools" => ask.tools.join(", "),
                "messages" => ask.messages.to_string(),
                "request" => number.to_string(),
                _ => return None,
            };
            Some((value, then))
        });
        let (value, then) = placeholder.unwrap_or_else(|| ("{".to_owned(), after));
        filled.push_str(&value);
        rest = then;
    }
    filled.push_str(rest);
    filled
}

#[cfg(test)]
mod tests;
