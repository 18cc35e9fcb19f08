// What to do about each cause: steps for a person, and YAML that can be pasted into the policy.
import type { Explanation } from '../policy/explain.ts'
import { REASONS, type Reason } from '../policy/reasons.ts'
import { formatSourceLine } from '../policy/source-line.ts'
import type { Standing } from '../policy/standing.ts'

/** A fix. `yaml` goes into portcullis.yaml. */
export type Fix = { readonly steps: readonly string[]; readonly yaml: string | null }

const DAY_MS = 86_400_000
const EXCEPTION_DAYS = 90

const steps = (...lines: readonly string[]): Fix => ({ steps: lines, yaml: null })

/** The remedy that the reason itself states. */
export function remedyOf(reason: Reason): Fix {
  return steps(REASONS[reason].remedy)
}

/** Lift a ban. */
export function unban(address: string, { ban }: Standing): Fix {
  if (ban === null) return steps(`bin/portcullis unban ${address}`)
  const range = ban.range.text.replace(/\/(?:32|128)$/, '')
  if (ban.at.line > 0)
    return steps(
      `Remove the ban at ${formatSourceLine(ban.at)}, or: bin/portcullis allow ${address} --reason "..."`,
    )
  return steps(`bin/portcullis unban ${range}`)
}

/** Record the site with its country, or correct the database. */
export function admitCountry(address: string, country: string, geo: Explanation['country']): Fix {
  const isCode = /^[A-Z]{2}$/.test(country)
  const differs = geo.first !== null && geo.second !== null && geo.first !== geo.second
  const lines = [
    'If this is a customer, record the site:',
    ...(differs
      ? [
          `The databases disagree (${geo.first} and ${geo.second}): if the first one is wrong, add a geo.overrides entry instead.`,
        ]
      : []),
    `For now only: bin/portcullis allow ${address} --for 7d --reason "..."`,
  ]
  return {
    steps: lines,
    yaml: `sites:\n  new-site:\n    name: Name of the customer\n    addresses: [${address}]\n${isCode ? `    countries: [${country}]\n` : ''}`,
  }
}

/** Old TLS: fix the device first, an exception second. */
export function oldTls(address: string, nowMs: number, { standing }: Explanation): Fix {
  const expires = new Date(nowMs + EXCEPTION_DAYS * DAY_MS).toISOString().slice(0, 10)
  const site = standing.site
  return {
    steps: [
      'On the device (Windows), then restart the agent service:',
      '  reg add "HKLM\\SOFTWARE\\Microsoft\\.NETFramework\\v4.0.30319" /v SchUseStrongCrypto /t REG_DWORD /d 1 /f',
      '  reg add "HKLM\\SOFTWARE\\Microsoft\\.NETFramework\\v4.0.30319" /v SystemDefaultTlsVersions /t REG_DWORD /d 1 /f',
      '  (the same two below HKLM\\SOFTWARE\\WOW6432Node\\Microsoft\\.NETFramework\\v4.0.30319)',
      '  reg add "HKLM\\SYSTEM\\CurrentControlSet\\Control\\SecurityProviders\\SCHANNEL\\Protocols\\TLS 1.2\\Client" /v Enabled /t REG_DWORD /d 1 /f',
      '  reg add "HKLM\\SYSTEM\\CurrentControlSet\\Control\\SecurityProviders\\SCHANNEL\\Protocols\\TLS 1.2\\Client" /v DisabledByDefault /t REG_DWORD /d 0 /f',
      site === null
        ? 'If the device cannot be changed, record its site with an exception that ends:'
        : `If the device cannot be changed, add an exception that ends to site ${site.id}:`,
    ],
    yaml: `sites:\n  ${site?.id ?? 'new-site'}:\n    name: ${site?.name ?? 'Name of the customer'}\n    addresses: [${site?.ranges.map(range => range.text).join(', ') ?? address}]\n    tlsException: { minimum: TLSv1, reason: why this device stays old, owner: your name, expires: ${expires} }\n`,
  }
}

/** A scoped exception for one rule. */
export function ruleException(
  hit: { readonly ruleId: string; readonly field: string; readonly path: string } | null,
  address: string,
  nowMs: number,
): Fix {
  if (hit === null)
    return steps(
      `bin/portcullis events ${address} --name request.refused shows the rule; except it if the request is legitimate.`,
    )
  const expires = new Date(nowMs + EXCEPTION_DAYS * DAY_MS).toISOString().slice(0, 10)
  return {
    steps: ['If the request is legitimate, except exactly it:'],
    yaml: `rules:\n  exceptions:\n    - rule: ${hit.ruleId}\n      paths: [${JSON.stringify(hit.path)}]\n      fields: [${hit.field}]\n      reason: why this is legitimate\n      owner: your name\n      expires: ${expires}\n`,
  }
}

/** Open a class to the source, in the narrowest way. */
export function openClass(reason: Reason, classes: readonly string[], address: string): Fix {
  if (reason === 'class-source') {
    return {
      steps: ['If people at this address may use it, trust the address:'],
      yaml: `trusted:\n  - ${address}\n`,
    }
  }
  return steps(
    REASONS[reason].remedy,
    `For now only: bin/portcullis allow ${address} ${classes.map(entry => `--class ${entry} `).join('')}--for 7d --reason "..."`,
  )
}

/** The client uses another name. */
export function wrongName(publicHost: string | null): Fix {
  return steps(
    `Set the server address at the client to https://${publicHost ?? 'the name of the gate'} (no path, no port, no trailing slash).`,
    'If the other name is right, add it to names in portcullis.yaml.',
  )
}

/** The client speaks plain text. */
export function plaintext(publicHost: string | null): Fix {
  return steps(
    `Set the server address at the client to https://${publicHost ?? 'the name of the gate'}, not http://.`,
  )
}

/** The handshake breaks off. */
export function handshake(publicHost: string | null): Fix {
  return steps(
    `Look at the certificate from the device: openssl s_client -connect ${publicHost ?? 'gate'}:443 -servername ${publicHost ?? 'gate'}`,
    'Check the clock of the device and its root certificates; check that certs/ holds the whole chain.',
  )
}

/** Nothing arrives. */
export function neverArrived(publicHost: string | null): Fix {
  return steps(
    `From a machine at the site: Test-NetConnection -ComputerName ${publicHost ?? 'the gate'} -Port 443`,
    'If it fails: the outbound firewall there has the old address hard-coded, or DNS is old.',
    'If it succeeds: diagnose again; the test shows up here as "connected and sent nothing".',
  )
}

/** The port test worked, but no agent tried. */
export function neverTried(): Fix {
  return steps('Check the server address in the agent, and restart the agent service.')
}

/** The upstream does not answer. */
export function upstream(): Fix {
  return steps(
    'bin/portcullis status shows since when and why; bring the RMM server back. Agents return by themselves.',
  )
}

/** A certificate that nobody can accept. */
export function renewCertificate(): Fix {
  return steps(
    'Put the renewed certificate and key into certs/; they are taken up by themselves. bin/portcullis cert shows the result.',
  )
}
