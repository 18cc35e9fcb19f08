// Two probes side by side, from the network of the gate and from outside it, or from two sites: the first hop that fails, and what
// that means when it works in one place only. Pure.
import { addressScope, parseAddress } from '../net/address.ts'

/** The hops of a probe, in the order in which a packet takes them. */
export const HOPS = ['name', 'port', 'tls', 'certificate', 'answer', 'heartbeat'] as const
/** A hop. */
export type Hop = (typeof HOPS)[number]

/** One check of a probe. `ok` null: it cannot tell. */
export type ProbeStep = {
  readonly hop: Hop
  readonly what: string
  readonly ok: boolean | null
  readonly saw: string
  /** Where the name leads. */
  readonly addresses?: readonly string[]
  /** How long it took, in milliseconds. */
  readonly ms?: number
  /** Fingerprint of the certificate that arrived. */
  readonly sha256?: string
}

/** A probe as a whole. */
export type ProbeResult = {
  /** Whether it ran in the network of the gate. */
  readonly isLan: boolean
  readonly steps: readonly ProbeStep[]
}

/** What two probes say together. */
export type ProbeComparison = {
  /** Null: nothing fails, and nothing differs that should not. */
  readonly hop: Hop | null
  /** Where it fails: at the place of the saved probe, here, or at both. */
  readonly where: 'there' | 'here' | 'both' | null
  readonly meaning: string
}

/** The first step that keeps agents out; an old TLS version that is refused is no failure while a newer one gets in. */
export function firstFailure(steps: readonly ProbeStep[]): ProbeStep | undefined {
  const someTls = steps.some(step => step.hop === 'tls' && step.ok === true)
  const somePort = steps.some(step => step.hop === 'port' && step.ok === true && !isOtherPort(step))
  return steps.find(step => {
    if (step.ok !== false) return false
    if (step.hop === 'tls') return !someTls
    return step.hop === 'port' ? !somePort && !isOtherPort(step) : true
  })
}

/** Other ports are tried only when the right one is closed. */
function isOtherPort({ what }: ProbeStep): boolean {
  return what.startsWith('other')
}

/** Names the first hop that fails at either place, and what it means that the other place has it or has it not. */
export function compareProbes(there: ProbeResult, here: ProbeResult): ProbeComparison {
  const [bad, badHere] = [firstFailure(there.steps), firstFailure(here.steps)]
  const [atThere, atHere] = [orderOf(bad), orderOf(badHere)]
  if (bad === undefined && badHere === undefined) return differing(there, here)
  if (atThere === atHere) {
    const hop = HOPS[atHere] ?? 'name'
    return { hop, where: 'both', meaning: BOTH[hop] }
  }
  const failsHere = atHere < atThere
  const hop = HOPS[Math.min(atThere, atHere)] ?? 'name'
  const [failing, working] = failsHere ? [here, there] : [there, here]
  const meaning = meaningOf(hop, failing, working)
  return { hop, where: failsHere ? 'here' : 'there', meaning: `${placeOf(failing, failsHere)}: ${meaning}` }
}

function orderOf(step: ProbeStep | undefined): number {
  return step === undefined ? HOPS.length : HOPS.indexOf(step.hop)
}

function placeOf({ isLan }: ProbeResult, isHere: boolean): string {
  return isLan ? 'In the LAN only' : isHere ? 'Here only' : 'There only'
}

const BOTH: Readonly<Record<Hop, string>> = {
  name: 'The name leads nowhere from either place. It is DNS at the provider of the domain: nothing else matters until the name is there.',
  port: 'From neither place a connection comes about: the gate does not listen on this port, or the firewall before it lets nobody in. At the gate: bin/portcullis status.',
  tls: 'Neither place gets past TLS: it is the gate or its policy, not the way. At the gate: bin/diagnose with the public address of either place.',
  certificate:
    'Both places get a certificate that clients refuse: it is the one of the gate. Renew it, or complete its chain in certs/.',
  answer:
    'Both places reach the gate and are not answered well: it is the policy or the RMM server. With a reference: bin/diagnose <reference> at the gate.',
  heartbeat:
    'Heartbeats fail from both places: the UDP port is closed at the gate or before it. At the gate: bin/portcullis status.',
}

function meaningOf(hop: Hop, failing: ProbeResult, working: ProbeResult): string {
  const { steps, isLan } = failing
  const addresses = addressesOf(failing)
  switch (hop) {
    case 'name':
      return 'the name does not lead anywhere. Its name server is wrong, or lacks the name (split DNS). The other place resolves it, so the domain is right.'
    case 'port': {
      if (isLan && !working.isLan)
        return `from outside it works. The router does not turn connections to its own public address back into the LAN (NAT loopback): let the DNS of the LAN answer the inner address of the gate${addresses === '' ? '' : ` instead of ${addresses}`}.`
      const hidden = !isLan && isPrivateOnly(failing)
      if (hidden)
        return `the name leads to ${addresses}, which nobody outside that network can reach. Public DNS must hold the public address of the gate.`
      const other = steps.find(step => isOtherPort(step) && step.ok === true)
      if (other !== undefined)
        return `the port is closed on the way, ${other.what.replace('other ', '')} is open. A firewall or the provider blocks the port: open it outbound, or let clients use the open one.`
      const elsewhere = addressesOf(working)
      const names =
        addresses === elsewhere || addresses === ''
          ? ''
          : ` The name leads to ${addresses} here and to ${elsewhere} there: is the first one the public address of the gate?`
      return `the gate listens and is reached from the other place. In this order: is the port forwarded to the gate (NAT) and open in the firewall before it?${names} Is it open outbound in the firewall of the failing place? Does its provider block it?`
    }
    case 'tls': {
      const denied = steps.some(step => step.hop === 'tls' && step.saw.includes('access denied'))
      return denied
        ? 'the gate refuses this network (country, ban or limit). At the gate: bin/diagnose with the public address of this place.'
        : 'the port is open, but TLS breaks. A device on the way touches TLS, or the gate refuses this network. At the gate: bin/diagnose with the public address of this place.'
    }
    case 'certificate':
      return `${certificateWords(failing, working)} If it is not the one of the gate, a device there opens TLS: exempt the name of the gate from it.`
    case 'answer':
      return 'the gate is reached from both places and answers them differently: the policy treats this network otherwise. With a reference: bin/diagnose <reference> at the gate.'
    case 'heartbeat':
      return 'everything but UDP works. Open the UDP port outbound at this place; agents check in all the same, only later when a technician calls them.'
  }
}

function addressesOf({ steps }: ProbeResult): string {
  return (steps.find(step => step.hop === 'name')?.addresses ?? []).join(', ')
}

function isPrivateOnly({ steps }: ProbeResult): boolean {
  const found = steps.find(step => step.hop === 'name')?.addresses ?? []
  return (
    found.length > 0 &&
    found.every(text => {
      const address = parseAddress(text)
      return address !== undefined && ['private', 'cgnat', 'link-local'].includes(addressScope(address))
    })
  )
}

function certificateWords(failing: ProbeResult, working: ProbeResult): string {
  const [bad, good] = [failing, working].map(({ steps }) => steps.find(step => step.hop === 'certificate'))
  if (bad?.sha256 !== undefined && bad.sha256 === good?.sha256)
    return 'the same certificate arrives at both places, and only this one does not trust it: its root certificates are old, or its clock is wrong.'
  return `another certificate arrives (${bad?.saw ?? 'unknown'}) than at the other place (${good?.saw ?? 'unknown'}).`
}

/** So much slower than the other place that people notice. */
const SLOW_MS = 300

/** Everything works; what still differs between the two. */
function differing(there: ProbeResult, here: ProbeResult): ProbeComparison {
  const [old, own] = [there, here].map(({ steps }) => steps.find(step => step.hop === 'certificate')?.sha256)
  if (old !== undefined && own !== undefined && old !== own) {
    return {
      hop: 'certificate',
      where: null,
      meaning: `Every hop works, but the two places get different certificates (${sawOf(there)}; here: ${sawOf(here)}). Unless the gate changed its certificate in between, a device at one of them opens TLS: agents that know the certificate refuse it.`,
    }
  }
  const [far, near] = [here, there].map(
    ({ steps }) => steps.find(step => step.hop === 'port' && step.ok === true)?.ms ?? 0,
  )
  const slow =
    Math.abs((far ?? 0) - (near ?? 0)) >= SLOW_MS
      ? ` The way ${(far ?? 0) > (near ?? 0) ? 'here' : 'there'} is slow: ${Math.max(far ?? 0, near ?? 0)} ms to connect instead of ${Math.min(far ?? 0, near ?? 0)} ms.`
      : ''
  return { hop: null, where: null, meaning: `Every hop works from both places.${slow}` }
}

function sawOf({ steps }: ProbeResult): string {
  return steps.find(step => step.hop === 'certificate')?.saw ?? 'unknown'
}

/** What the times of a probe say where every hop works; null: nothing is slow. */
export function slowWords(steps: readonly ProbeStep[]): string | null {
  const way = steps.find(step => step.hop === 'port' && step.ok === true)?.ms
  const answer = steps.find(step => step.hop === 'answer')?.ms
  if (way === undefined || answer === undefined) return null
  if (way >= SLOW_MS)
    return `The way is slow: ${way} ms to connect. That is the network between here and the gate (its line, a VPN, a detour), not the gate.`
  // An answer takes one more round trip than a connection.
  if (answer - way >= 4 * SLOW_MS)
    return `The way is quick (${way} ms to connect), but the answer took ${answer} ms: the RMM server is slow, or the gate is. At the gate, bin/diagnose with any address says which.`
  return null
}
