// portcullis cert: which certificate each name serves, and how long it lasts; from the running gate, else from the files.
import type { CertificateState, GateStatus } from '../../admin/status.ts'
import { inspectCertificates } from '../certificate-report.ts'
import type { Command } from '../command.ts'
import { formatTime } from '../format.ts'
import { askGate, requirePolicy } from '../gate-access.ts'

const DAY_MS = 86_400_000

export const certCommand: Command = {
  name: 'cert',
  usage: 'cert',
  summary: 'Certificates of each name, and how long they last',
  examples: ['portcullis cert', 'portcullis cert --json'],
  options: {},
  run: async (args, context) => {
    const { terminal } = context
    const { snapshot } = requirePolicy(args, context)
    const status = (await askGate(snapshot, 'GET', '/v1/status')) as GateStatus | undefined
    const certificates: readonly CertificateState[] =
      status?.certificates ?? (await inspectCertificates(snapshot, context.nowMs()))
    if (args.flag('json')) {
      terminal.json({ gateRunning: status !== undefined, certificates })
      return 0
    }
    if (status === undefined)
      terminal.print(
        terminal.tone('dim', 'No gate runs with this policy; this is what lies in the files.'),
        '',
      )
    for (const entry of certificates) {
      const days = Math.floor((entry.validToMs - context.nowMs()) / DAY_MS)
      const left =
        days < 0
          ? terminal.tone('bad', 'ended')
          : terminal.tone(days < 14 ? 'bad' : days < 30 ? 'warn' : 'good', `${days} days left`)
      terminal.print(
        `${terminal.tone('strong', entry.name)}  ${entry.keyType}, ${left}`,
        `  until    ${formatTime(entry.validToMs)}`,
        `  subject  ${entry.subject}${entry.development ? terminal.tone('warn', '  (development, not for production)') : ''}`,
        `  sha256   ${entry.sha256}`,
        `  file     ${entry.file}`,
      )
    }
    const missing = snapshot.names.filter(name => !certificates.some(entry => entry.name === name.host))
    for (const name of missing) {
      terminal.print(
        `${terminal.tone('strong', name.host)}  ${terminal.tone('warn', 'no certificate')}`,
        `  Put ${name.host.replace('*', '_')}.crt and .key into ${snapshot.directories.certs}; until then a development certificate is made at start.`,
      )
    }
    return 0
  },
}
