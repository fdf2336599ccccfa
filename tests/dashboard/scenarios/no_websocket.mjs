// Without a WebSocket listener the console says so, and what to write into the config.

export default async function noWebsocket(visit) {
  await visit.open('console', 'Console');
  await visit.see('There is no WebSocket listener');
  await visit.see('url = "ws://127.0.0.1:8083/mqtt"');
}
