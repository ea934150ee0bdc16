// A Slack app as anybody would write it, on the unmodified Bolt of the folder that the first argument names.
// `clientOptions.slackApiUrl` is all that tells it from an app for the real Slack. What it sees and does it says on
// stdout, one JSON value a line, for tests/servers/tests/bolt.rs to read.
'use strict';

const [folder, slackApiUrl, token, appToken] = process.argv.slice(2);
const { App, LogLevel } = require(`./${folder}/node_modules/@slack/bolt`);

const tell = (what) => process.stdout.write(`${JSON.stringify(what)}\n`);
const app = new App({ token, appToken, socketMode: true, logLevel: LogLevel.ERROR, clientOptions: { slackApiUrl } });

const button = { type: 'button', action_id: 'approve', value: 'yes', text: { type: 'plain_text', text: 'Go' } };
const modal = {
  type: 'modal',
  callback_id: 'reason',
  title: { type: 'plain_text', text: 'Why?' },
  submit: { type: 'plain_text', text: 'Send' },
  blocks: [{
    type: 'input',
    block_id: 'why',
    label: { type: 'plain_text', text: 'Reason' },
    element: { type: 'plain_text_input', action_id: 'text' },
  }],
};

app.event('app_mention', async ({ event, body, client, say }) => {
  const { channel, user } = event;
  const thread_ts = event.thread_ts ?? event.ts;
  await client.assistant.threads.setStatus({
    channel_id: channel, thread_ts, status: 'is thinking', loading_messages: ['reading', 'writing'],
  });
  await client.reactions.add({ channel, timestamp: event.ts, name: 'eyes' });
  const reply = await say({
    text: `hello <@${user}>`,
    thread_ts,
    blocks: [
      { type: 'section', text: { type: 'mrkdwn', text: `hello <@${user}>` } },
      { type: 'actions', elements: [button] },
    ],
    metadata: { event_type: 'reply', event_payload: { to: event.ts, deep: { n: 1 } } },
  });
  await client.chat.update({ channel, ts: reply.ts, text: 'hello again', blocks: reply.message.blocks });

  const stream = client.chatStream({
    channel, thread_ts, recipient_team_id: body.team_id, recipient_user_id: user, buffer_size: 1,
  });
  await stream.append({ markdown_text: '**strea' });
  await stream.append({ markdown_text: 'med**' });
  await stream.stop();

  const upload = await client.files.uploadV2({
    channel_id: channel,
    thread_ts,
    initial_comment: 'a picture',
    filename: 'picture one.png',
    file: Buffer.from([0x89, 0x50, 0x4e, 0x47, 13, 10, 13, 10, 45, 45]),
  });
  const thread = await client.conversations.replies({ channel, ts: thread_ts, include_all_metadata: true });
  const person = await client.users.info({ user });
  const place = await client.conversations.info({ channel });
  await client.reactions.remove({ channel, timestamp: event.ts, name: 'eyes' });
  tell({
    did: 'mention',
    uploaded: upload.ok,
    read: thread.messages.length,
    deep: thread.messages.find((message) => message.metadata)?.metadata.event_payload.deep.n,
    user: person.user.name,
    channel: place.channel.name,
  });
});

app.event('message', async ({ event, client }) => {
  if (event.files) {
    const response = await fetch(event.files[0].url_private_download, { headers: { authorization: `Bearer ${token}` } });
    tell({ saw: 'file', name: event.files[0].name, content: await response.text() });
  }
  tell({ saw: 'message', kind: event.channel_type, subtype: event.subtype, text: event.text ?? event.message?.text });
  if (event.text === 'all pages') {
    let texts = [];
    for await (const page of client.paginate('conversations.history', { channel: event.channel, limit: 2 })) {
      texts = texts.concat(page.messages.map((message) => message.text));
    }
    tell({ did: 'pages', texts });
  }
});
app.event('reaction_added', async ({ event }) => tell({ saw: 'reaction', name: event.reaction, user: event.user }));
app.event('member_joined_channel', async ({ event }) => tell({ saw: 'join', user: event.user }));

app.command('/ask', async ({ command, ack, respond }) => {
  await ack({ response_type: 'ephemeral', text: `working on ${command.text}` });
  await respond({ response_type: 'in_channel', text: 'done' });
  tell({ did: 'command' });
});
app.action('approve', async ({ ack, action, body, client, respond }) => {
  await ack();
  const { view } = await client.views.open({ trigger_id: body.trigger_id, view: modal });
  await respond({ replace_original: true, text: 'approved' });
  tell({ did: 'action', value: action.value, view: view.id });
});
app.view('reason', async ({ ack, view }) => {
  await ack();
  tell({ did: 'view', reason: view.state.values.why.text.value });
});

app.error(async (error) => tell({ error: error.data?.error ?? error.message }));
process.on('SIGTERM', async () => {
  await app.stop();
  process.exit(0);
});
app.start().then(() => tell({ did: 'start' }), (error) => {
  tell({ error: error.data?.error ?? error.message });
  process.exit(1);
});
