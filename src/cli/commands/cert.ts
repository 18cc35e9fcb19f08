// portcullis cert: which certificate each name serves, and how long it lasts; from the running gate, else from the files.
import type { CertificateState, GateStatus } from '../../admin/status.ts'
import { daysLeft, inspectCertificates } from '../certificate-report.ts'
import type { Command } from '../command.ts'
import { formatTime } from '../format.ts'
import { askGate, requirePolicy } from '../gate-access.ts'
import type { Terminal } from '../terminal.ts'

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
    const nowMs = context.nowMs()
    const files = await inspectCertificates(snapshot, nowMs)
    const certificates = status?.certificates ?? files.certificates
    const unserved = snapshot.names.filter(name => !certificates.some(entry => entry.name === name.host))
    const ended = snapshot.names.filter(name => {
      const own = certificates.filter(entry => entry.name === name.host)
      return own.length > 0 && own.every(entry => entry.validToMs <= nowMs)
    })
    const code = ended.length + files.problems.length > 0 ? 1 : 0
    if (args.flag('json')) {
      terminal.json({ gateRunning: status !== undefined, certificates, problems: files.problems })
      return code
    }
    if (status === undefined)
      terminal.print(
        terminal.tone('dim', 'No gate runs with this policy; this is what lies in the files.'),
        '',
      )
    for (const entry of certificates) print(entry, nowMs, terminal)
    for (const name of unserved.filter(entry => !files.problems.some(({ name }) => name === entry.host))) {
      terminal.print(
        `${terminal.tone('strong', name.host)}  ${terminal.tone('warn', 'no certificate')}`,
        terminal.wrap(
          `Put ${name.host.replace('*', '_')}.crt and .key into ${snapshot.directories.certs}; until then a development certificate is made at start.`,
          '  ',
        ),
      )
    }
    for (const { name, file, problem } of files.problems) {
      terminal.print(
        `${terminal.tone('strong', name)}  ${terminal.tone('bad', 'a certificate that cannot be used')}`,
        `  file     ${file}`,
        terminal.wrap(`problem  ${problem}`, '  ', '         '),
      )
    }
    return code
  },
}

function print(entry: CertificateState, nowMs: number, terminal: Terminal): void {
  terminal.print(
    `${terminal.tone('strong', entry.name)}  ${entry.keyType}, ${daysLeft(entry, nowMs, terminal)}`,
    `  until    ${formatTime(entry.validToMs)}`,
    `  subject  ${entry.subject}${entry.development ? terminal.tone('warn', '  (development, not for production)') : ''}`,
    `  sha256   ${entry.sha256}`,
    `  file     ${entry.file}`,
  )
}
