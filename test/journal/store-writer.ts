// A child process of the crash test: writes batches without end and says after each how many rows it has written.
import { openStoreCore } from '../../src/journal/store-core.ts'

const core = openStoreCore(process.argv[2] ?? '')
let written = 0
function writeOn(): void {
  core.write({
    ledger: null,
    events: Array.from({ length: 200 }, (_, index) => ({
      timeMs: Date.now(),
      name: 'request.refused',
      severity: 'info',
      address: `203.0.113.${index}`,
      site: null,
      class: 'agent',
      reason: 'banned',
      reference: null,
      fields: '{}',
    })),
  })
  written += 200
  process.send?.(written)
  setImmediate(writeOn)
}
writeOn()
