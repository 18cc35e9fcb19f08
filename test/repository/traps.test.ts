// Known traps keep their numbers for ever: each one that concerns what is built has tests with its number in their names.
import { readdirSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import test from 'ava'

const tests = resolve(import.meta.dirname, '..')

/** What each number stands for. Numbers that are missing concern UDP flows and tunnels. */
const TRAPS: Readonly<Record<number, string>> = {
  1: 'a minimum TLS version set through SNICallback is ignored',
  2: 'a server that never listens itself has no time limits for heads',
  3: 'handing over a peeked socket breaks the handshake when it is resumed',
  4: 'TLS facts read after a failed handshake end the process',
  5: 'a session ticket of one TLS profile resumes in a stricter one',
  6: 'handshakes may take two minutes unless told otherwise',
  7: 'TLS 1.0 needs security level 0 and an RSA certificate beside ECDSA',
  8: 'an alert is lost when unread bytes turn FIN into RST',
  9: 'ClientHellos come in pieces and over several records',
  10: 'TLS keys can be logged by an environment variable',
  11: 'facts of a peeked socket must find their TLS socket',
  12: 'limits that drop without an event cannot be diagnosed',
  13: 'generic proxies smuggle, crash, leak and hang',
  14: 'an early reset of a WebSocket client is an uncaught exception',
  15: 'a target that is normalised too early, or an exception that is not anchored, is a bypass',
  16: 'consoles lie below the prefix of agents',
  17: 'agents upload much and wait long',
  18: 'without kept connections to the server each request costs three times as much',
  19: 'HTTP/2 upstream, Host and Location must be decided on purpose',
  20: 'silence is the worst that an agent can meet',
  21: 'patterns that backtrack hold the event loop',
  22: 'a half-written country database ends the process',
  23: 'a block list that does not say which entry matched explains nothing',
  24: 'NO is Norway, not false',
  25: 'an allow beats a ban and a country, never a rule',
  26: 'detect records and lets pass, enforce refuses',
  28: 'a client that connects and says nothing is a port test',
  29: 'writes to a tunnel are gathered per turn, what waits is bounded and ages, the end of the tunnel answers',
  32: 'a connector that returns takes its place at once, a zombie never holds it',
  34: 'the pinned Node comes as optional packages',
  35: 'versions are exact because later ones do not install',
  36: 'one Prometheus client is deprecated',
  37: 'TypeScript below node_modules is refused: the project runs from its checkout',
  38: 'examples in documents rot',
  39: 'logs of a gate are a store of credentials',
  40: 'servers believe a whole family of address headers',
  41: 'a second change of a pinned certificate loses every agent',
  42: 'agents are silent on their WebSockets for minutes',
  43: 'servers behind a gate need settings of their own, and agents come back all at once',
  44: 'old clients exist and can be tried here',
  45: 'servers push datagrams from their own port after silence',
  46: 'the databases agree on some addresses',
  47: 'half-close and RST must survive the gate',
}

test('every known trap has a test with its number in its name', t => {
  const found = new Set<number>()
  for (const path of readdirSync(tests, { recursive: true, encoding: 'utf8' })) {
    if (!path.endsWith('.ts') || path === join('repository', 'traps.test.ts')) continue
    const text = readFileSync(join(tests, path), 'utf8')
    for (const [, numbers = ''] of text.matchAll(/['"`]traps? (\d+(?:(?:, | and )\d+)*):/g))
      for (const number of numbers.split(/, | and /)) found.add(Number(number))
  }
  t.deepEqual(
    Object.entries(TRAPS)
      .filter(([number]) => !found.has(Number(number)))
      .map(([number, what]) => `${number}: ${what}`),
    [],
  )
  t.deepEqual(
    [...found].filter(number => TRAPS[number] === undefined),
    [],
    'a number without a line in this list',
  )
})
