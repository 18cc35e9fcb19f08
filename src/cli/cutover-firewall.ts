// portcullis cutover firewall: the rule that admits only the gate, for the firewalls that people have.
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { cutoverRules, productPorts, type ServerPorts } from '../deploy/firewall.ts'
import { addressScope, parseAddress, type Address } from '../net/address.ts'
import type { Snapshot } from '../policy/snapshot.ts'
import { usageError, type CommandArguments, type CommandContext } from './command.ts'
import { requirePolicy } from './gate-access.ts'
import { addressesOf } from './reach.ts'
import { bullet } from './shown-text.ts'

/** Prints the rule. */
export async function printCutoverRule(args: CommandArguments, context: CommandContext): Promise<number> {
  const { snapshot } = requirePolicy(args, context)
  const { terminal } = context
  const stated = args.text('egress')
  const given = stated === undefined ? null : parseAddress(stated)
  if (given === undefined)
    throw usageError(
      `--egress: "${stated ?? ''}" is not an address`,
      'Write the address from which the gate connects.',
    )
  const guess = given === null && snapshot.deployment.egress.length === 0 ? await egressGuess(snapshot) : null
  const egress =
    given !== null
      ? [given]
      : snapshot.deployment.egress.length > 0
        ? snapshot.deployment.egress
        : guess === null
          ? []
          : [guess]
  if (egress.length === 0)
    throw usageError(
      'the address from which the gate connects is not known',
      'State deployment.egress in the policy, or add --egress <ip>.',
    )
  const ports = portsOf(snapshot)
  const texts = cutoverRules(egress, ports, serverAddress(snapshot))
  if (args.flag('json')) {
    terminal.json({
      egress: egress.map(address => address.text),
      guessed: guess !== null,
      ports,
      rules: texts,
    })
    return 0
  }
  terminal.print(
    `Only ${egress.map(address => address.text).join(', ')} may reach the RMM server on TCP ${ports.tcp.join(', ')}${ports.udp.length === 0 ? '' : ` and UDP ${ports.udp.join(', ')}`}.`,
  )
  if (guess !== null) {
    const nat =
      addressScope(guess) === 'public' ? '' : ' It is a private one: behind NAT the server sees another.'
    terminal.print(
      terminal.tone(
        'warn',
        `The address is the one that this machine would use. Run this on the gate, or state deployment.egress.${nat}`,
      ),
    )
  }
  terminal.print(bullet('Add your own management addresses before you close anything.', terminal))
  for (const { title, lines, undo, note } of texts) {
    terminal.print('', terminal.tone('strong', title), ...lines.map(line => `    ${line}`))
    if (note !== null) terminal.print(terminal.wrap(note, '  '))
    terminal.print('  In an emergency:', ...undo.map(line => `    ${line}`))
  }
  terminal.print('', 'Afterwards, from outside: portcullis cutover verify')
  return 0
}

/** The address of the first server, when the policy names one that is not this machine. */
function serverAddress(snapshot: Snapshot): Address | null {
  const host = [...snapshot.upstreams.values()][0]?.members[0]?.origin.host ?? ''
  const address = parseAddress(host)
  return address === undefined || addressScope(address) === 'loopback' ? null : address
}

/** Ports of the products in use, and of the servers behind the gate. */
function portsOf(snapshot: Snapshot): ServerPorts {
  const products = snapshot.names.map(name => productPorts(name.profile.id))
  return {
    tcp: [...new Set(products.flatMap(entry => entry.tcp))].toSorted((a, b) => a - b),
    udp: [...new Set(products.flatMap(entry => entry.udp))].toSorted((a, b) => a - b),
  }
}

/** The address that this machine uses towards the first server; nothing is sent. */
async function egressGuess(snapshot: Snapshot): Promise<Address | null> {
  const origin = [...snapshot.upstreams.values()][0]?.members[0]?.origin
  const [address] = origin === undefined ? [] : await addressesOf(origin.host)
  if (address === undefined) return null
  const socket = createSocket(address.includes(':') ? 'udp6' : 'udp4')
  try {
    socket.connect(origin?.port ?? 443, address)
    await Promise.race([once(socket, 'connect'), once(socket, 'error')])
    return parseAddress(socket.address().address) ?? null
  } catch {
    return null
  } finally {
    socket.close()
  }
}
