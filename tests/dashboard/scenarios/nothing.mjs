// A broker that nobody has used yet: each page says what would be there.

export default async function nothing(visit) {
  await visit.open('overview', 'Overview');
  await visit.see('Nobody is slow');
  for (const [page, heading, text] of [
    ['clients', 'Clients', 'No client yet'],
    ['topics', 'Subscriptions', 'Nobody has subscribed yet'],
    ['queues', 'Queues', 'No work queues yet'],
    ['bans', 'Bans', 'Nobody is banned'],
    ['bridges', 'Bridges', 'No bridges'],
    ['trace', 'Live trace', 'Nothing yet'],
  ]) {
    await visit.open(page, heading);
    await visit.see(text);
  }
  await visit.open('clients/nobody', 'nobody');
  await visit.see('There is no such client');
  await visit.open('queues/none', 'none');
  await visit.see('There is no such queue');
  await visit.open('retained?topic=none', 'Retained messages');
  await visit.see('There is no retained message of this topic');
  await visit.open('what', 'No such page');
}

/** The browser tells of each 404 that it sees. */
export const expected = [/404 \(Not Found\)/];
