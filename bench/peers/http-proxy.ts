// http-proxy 1.18.1 from npm, tuned: kept-alive upstream agent, country check with the same cache and database as ours.
import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'
import type { Peer } from './peer.ts'

export const httpProxy: Peer = {
  id: 'http-proxy',
  work: 'node:https server, country check (maxmind + lru-cache), http-proxy with a keep-alive agent',
  refuses: { foreignCountry: true, attack: false },
  version: () => {
    try {
      const { version } = createRequire(import.meta.url)('http-proxy/package.json') as { version: string }
      return `http-proxy ${version} on Node ${process.version}`
    } catch {
      return undefined
    }
  },
  prepare: stage => ({
    argv: [
      process.execPath,
      '--disable-warning=DEP0060',
      fileURLToPath(new URL('http-proxy-server.ts', import.meta.url)),
      String(stage.port),
      `http://${stage.upstream.host}:${stage.upstream.port}`,
      stage.certFile,
      stage.keyFile,
      stage.geoFile,
      stage.homeCountry,
    ],
  }),
}
