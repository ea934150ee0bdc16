//! The command line's grammar and its help.

use std::path::PathBuf;

#[cfg(feature = "slack")]
use clap::builder::NonEmptyStringValueParser;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand};

use crate::model::{ChatId, Engage, GroupName};

/// A self-hosted chat gateway: every conversation gets an agent in a shell of its own.
#[derive(Debug, Parser)]
#[command(
    name = "hermitcrab",
    version,
    arg_required_else_help = true,
    after_help = "Examples:
  hermitcrab chat                     talk to the assistant
  hermitcrab chat -m 'What is new?'   ask once, print the answer
  hermitcrab doctor                   see what is missing, and the command that mends it
  hermitcrab run                      run the gateway, as a service does

Settings come from the environment and from .env in the home; .env.example lists them all.
Exit codes: 0 done, 1 failed, 64 wrong usage, 69 something needed is not there,
75 another gateway has the store, 78 wrong settings."
)]
pub(super) struct Arguments {
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        help = "Where .env, groups/ and store/ lie [default: HERMITCRAB_HOME, else the current folder]"
    )]
    pub(super) home: Option<PathBuf>,
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run the gateway in the foreground until SIGTERM or Ctrl-C
    #[command(
        after_help = "There is one gateway for a home: `run` ends with 75 while another has the store, also while that is
a `hermitcrab chat` which found no gateway and stands in for it."
    )]
    Run,
    /// Talk to the assistant; brings a gateway up when none runs
    Chat(ChatOptions),
    /// Show channels, groups, runs, queue, outbox, sandbox and spending
    Status(Format),
    /// Check what is needed; each fault comes with the command that mends it
    Doctor(Format),
    /// List and change groups
    #[command(subcommand)]
    Group(GroupCommand),
    /// List what the agent did, newest first
    Runs(RunsOptions),
    /// List what waits to be sent
    Outbox(OutboxOptions),
    /// Bring the assistant into a Slack workspace
    #[cfg(feature = "slack")]
    #[command(subcommand)]
    Slack(SlackCommand),
}

/// How a listing is written.
#[derive(Debug, Clone, Copy, Args)]
pub(super) struct Format {
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:
  hermitcrab chat
  hermitcrab chat --group family
  hermitcrab chat -m 'Summarise notes.md'
  git log -5 | hermitcrab chat -m -")]
pub(super) struct ChatOptions {
    /// Send one message, print the answer, and end; - reads the message from standard input
    #[arg(short, long, value_name = "TEXT")]
    pub(super) message: Option<String>,
    /// The group to talk to
    #[arg(short, long, value_name = "NAME", default_value = GroupName::MAIN)]
    pub(super) group: GroupName,
    /// Install what is missing without asking
    #[arg(short, long)]
    pub(super) yes: bool,
    /// A conversation beside the group's first one
    #[arg(long, value_name = "THREAD", hide = true)]
    pub(super) thread: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(super) enum GroupCommand {
    /// List the groups
    List(Format),
    /// List the chats that the channels have told of, with the group that each belongs to
    Chats(Format),
    /// Add a group with a folder of its own
    Add(GroupChange),
    /// Change a group; what is not named stays as it is
    Set(GroupSet),
    /// Remove a group; its folder and its messages stay
    Remove {
        /// The group
        name: GroupName,
        /// Do not ask
        #[arg(short, long)]
        yes: bool,
        #[command(flatten)]
        format: Format,
    },
}

#[cfg(feature = "slack")]
#[derive(Debug, Subcommand)]
pub(super) enum SlackCommand {
    /// Print the app's manifest, for "Create New App", "From a manifest" on api.slack.com/apps
    Manifest {
        #[arg(
            long,
            value_name = "NAME",
            help = "What the app is called [default: ASSISTANT_NAME]",
            value_parser = NonEmptyStringValueParser::new()
        )]
        name: Option<String>,
        /// Print an address instead that brings the manifest along, to open in a browser
        #[arg(long)]
        link: bool,
    },
    /// Look at the settings, and ask Slack whether it takes the tokens, and whether they may do all that is needed
    Check(Format),
}

#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:
  hermitcrab group set family --allow-web '*.wikipedia.org' --budget 2.50
  hermitcrab group set family --mount ~/photos:photos --mount /srv/notes:notes:rw
  hermitcrab group set family --remove-chat slack:T01/C02
  hermitcrab group set work --engage mention --allow-sender U0ANN --allow-sender U0BOB
  hermitcrab group set work --forbid-sender U0BOB")]
pub(super) struct GroupSet {
    #[command(flatten)]
    pub(super) change: GroupChange,
    /// A chat that is to belong to it no longer; may be repeated
    #[arg(long, value_name = "CHAT")]
    pub(super) remove_chat: Vec<ChatId>,
    /// One of those named by --allow-sender who is to be named no longer; may be repeated
    #[arg(long, value_name = "ID")]
    pub(super) forbid_sender: Vec<String>,
}

/// Reads what wakes the assistant in a thread.
fn engage() -> impl TypedValueParser<Value = Engage> {
    PossibleValuesParser::new([Engage::Mention, Engage::Thread].map(Engage::as_str))
        .map(|word| if word == Engage::Mention.as_str() { Engage::Mention } else { Engage::Thread })
}

#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:
  hermitcrab group add family --trigger @Crab
  hermitcrab group add work --chat slack:T01/C02 --budget 2.50")]
pub(super) struct GroupChange {
    /// The group: lower-case letters, digits, - and _
    pub(super) name: GroupName,
    /// A chat that belongs to it, such as slack:T01/C02; may be repeated
    #[arg(long, value_name = "CHAT")]
    pub(super) chat: Vec<ChatId>,
    #[arg(
        long,
        value_name = "WORD",
        conflicts_with = "no_trigger",
        help = "What wakes the assistant [default: @ and its name]"
    )]
    pub(super) trigger: Option<String>,
    /// Every message wakes the assistant
    #[arg(long)]
    pub(super) no_trigger: bool,
    /// What wakes the assistant in a thread where it was woken before: what is addressed to it, or everything [default: thread]
    #[arg(long, value_name = "WHEN", value_parser = engage())]
    pub(super) engage: Option<Engage>,
    /// Somebody who may wake the assistant, by the platform's id, as nobody else then may; may be repeated; - for everybody but guests
    #[arg(long, value_name = "ID", allow_hyphen_values = true)]
    pub(super) allow_sender: Vec<String>,
    /// A host that the agent may reach, or *.host for its sub-domains; may be repeated; - for none
    #[arg(long, value_name = "HOST")]
    pub(super) allow_web: Vec<String>,
    /// The most dollars a day, such as 2.50; - for no limit
    #[arg(long, value_name = "USD", allow_hyphen_values = true)]
    pub(super) budget: Option<String>,
    /// A folder of this machine in the sandbox, if the allow-list permits it; may be repeated; - for none
    #[arg(long, value_name = "HOST:NAME[:rw]", allow_hyphen_values = true)]
    pub(super) mount: Vec<String>,
    #[command(flatten)]
    pub(super) format: Format,
}

#[derive(Debug, Clone, Copy, Args)]
#[command(after_help = "TRY counts the attempts at the same messages. STATE is one of
  claimed      it has a slot and waits for its sandbox
  running      the agent is at work
  done         it ended with an answer, or with nothing to say
  cancelled    somebody stopped it
  failed       it failed; its messages wait for another try
  given_up     it failed for the last time, and the chat was told
  interrupted  the gateway ended it and put its messages back; the next start takes them up")]
pub(super) struct RunsOptions {
    /// Go on showing changes until Ctrl-C
    #[arg(short, long)]
    pub(super) follow: bool,
    /// How many at most
    #[arg(short = 'n', long, value_name = "NUMBER", default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(super) limit: u16,
    #[command(flatten)]
    pub(super) format: Format,
}

#[derive(Debug, Clone, Copy, Args)]
#[command(after_help = "TRIES counts the attempts at sending. STATE is one of
  pending  it waits, for what WHY says
  sending  it is under way, or was when the gateway ended
  sent     the channel has it
  failed   the channel refused it for good")]
pub(super) struct OutboxOptions {
    /// What was sent, too
    #[arg(short, long)]
    pub(super) all: bool,
    /// How many at most
    #[arg(short = 'n', long, value_name = "NUMBER", default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(super) limit: u16,
    #[command(flatten)]
    pub(super) format: Format,
}
