// The packages that tests/run has installed under the target folder.

import { createRequire } from 'node:module';
import path from 'node:path';

const folder = process.env.DUNLIN_CLIENTS;
if (!folder) throw new Error('DUNLIN_CLIENTS does not tell where the packages are; cargo test --test clients sets it');

export const load = createRequire(path.join(path.resolve(folder), 'package.json'));
