export function open() { return { title: 'Queues', content: [] }; }
