// A child process of the full-disk test: its files cannot grow beyond a limit set by the shell. Prints what the store says.
import { openStore } from '../../src/journal/store.ts'

const store = await openStore({
  file: process.argv[2] ?? '',
  retention: { eventDays: 30, ledgerDays: 30, maxStoreBytes: 1e9 },
  clock: Date.now,
  ledger: null,
})
const events: unknown[] = []
store.listen((name, fields) => events.push({ name, fields }))
for (let round = 0; round < 10; round++) {
  for (let index = 0; index < 1_000; index++) {
    store.add({
      timeMs: Date.now(),
      name: 'request.refused',
      severity: 'info',
      address: '203.0.113.7',
      site: null,
      class: null,
      reason: 'banned',
      reference: null,
      fields: JSON.stringify({ text: 'x'.repeat(500) }),
    })
  }
  await store.flush()
}
const found = await store.call('findEvents', { limit: 5 })
process.stdout.write(JSON.stringify({ ...store.state(), events, found: found.length }))
await store.close()
