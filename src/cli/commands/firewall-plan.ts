// portcullis firewall-plan: the exact firewall lines that the policy's own listeners and servers need, in the four placements.
import { gateLines, gateNftables, placements, portText } from '../../deploy/firewall.ts'
import { suggest } from '../../config/spelling.ts'
import { usageError, type Command } from '../command.ts'
import { requirePolicy } from '../gate-access.ts'

export const firewallPlanCommand: Command = {
  name: 'firewall-plan',
  usage: 'firewall-plan [--placement internet|dmz|server-network|customer-network]',
  summary: 'Firewall lines that this policy needs, for each place where a gate can stand',
  examples: ['portcullis firewall-plan', 'portcullis firewall-plan --placement dmz'],
  options: { placement: { type: 'string', value: '<place>', help: 'only this place' } },
  run: (args, context) => {
    const { snapshot } = requirePolicy(args, context)
    const { terminal } = context
    const lines = gateLines(snapshot)
    const all = placements(lines)
    const wanted = args.text('placement')
    const ids = all.map(place => place.id)
    if (wanted !== undefined && !ids.includes(wanted)) {
      const near = suggest(wanted, ids)
      throw usageError(
        `there is no placement "${wanted}"`,
        near === undefined ? `Placements: ${ids.join(', ')}.` : `Did you mean ${near}?`,
      )
    }
    const shown = all.filter(place => wanted === undefined || place.id === wanted)
    const nftables = gateNftables(lines)
    if (args.flag('json')) {
      terminal.json({ lines, placements: shown, nftables })
      return Promise.resolve(0)
    }
    const rows = lines.map(({ direction, protocol, peer, why, ...line }) => [
      direction,
      `${protocol}/${portText(line)}`,
      direction === 'in' ? `from ${peer}` : `to ${peer}`,
      terminal.tone('dim', why),
    ])
    terminal.print('What the gate needs:', terminal.table(rows, '  '))
    for (const { id, title, lines: text } of shown)
      terminal.print('', terminal.tone('strong', `${title} (${id})`), ...text.map(line => `  ${line}`))
    terminal.print(
      '',
      terminal.tone('strong', "The gate's own machine, nftables"),
      ...nftables.map(line => `  ${line}`),
      '',
      'After the cut-over only the gate reaches the RMM server: portcullis cutover firewall',
    )
    return Promise.resolve(0)
  },
}
