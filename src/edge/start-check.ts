// PURE: settings of the process under which the gate must not start.

/** Why the gate must not start, and what to do. */
export type StartProblem = { readonly code: string; readonly problem: string; readonly remedy: string }

/**
 * Checks NODE_OPTIONS and the runtime's own arguments: `--tls-keylog` writes the keys of every connection to a file,
 * `--trace-tls` writes what was said, and the others weaken every profile or the HTTP parser.
 * @returns undefined when the gate may start
 */
export function unsafeRuntime(
  nodeOptions: string | undefined,
  execArgv: readonly string[],
): StartProblem | undefined {
  const words = [...(nodeOptions ?? '').split(/[\s"']+/), ...execArgv]
  for (const word of words) {
    const option = word.replaceAll('_', '-').split('=')[0] ?? ''
    if (UNSAFE.has(option)) {
      return {
        code: 'runtime-unsafe',
        problem: `Node was started with ${option}, which exposes or weakens every TLS connection`,
        remedy: `Remove ${option} from NODE_OPTIONS and from the command line (systemd: UnsetEnvironment=NODE_OPTIONS).`,
      }
    }
  }
  return undefined
}

const UNSAFE: ReadonlySet<string> = new Set([
  '--tls-keylog',
  '--trace-tls',
  '--tls-min-v1.0',
  '--tls-min-v1.1',
  '--tls-max-v1.2',
  '--tls-cipher-list',
  '--insecure-http-parser',
])
