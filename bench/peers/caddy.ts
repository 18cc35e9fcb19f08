// Caddy on one Go processor. It has no country check without a plugin, so it does less than the others.
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { firstLine } from '../stage/processes.ts'
import { HOST } from '../stage/namespace.ts'
import type { Peer } from './peer.ts'

export const caddy: Peer = {
  id: 'caddy',
  work: 'TLS and proxy with kept-alive upstream; no country check (needs a plugin); GOMAXPROCS=1',
  refuses: { foreignCountry: false, attack: false },
  version: () => {
    const version = firstLine('caddy', 'version')
    return version === undefined ? undefined : `Caddy ${version}`
  },
  prepare: stage => {
    const file = join(stage.dir, 'Caddyfile')
    writeFileSync(
      file,
      `{
	admin off
	auto_https off
	log default {
		level ERROR
	}
	servers {
		protocols h1
	}
}
https://${HOST}:${stage.port} {
	tls ${stage.certFile} ${stage.keyFile} {
		protocols tls1.2 tls1.3
	}
	reverse_proxy ${stage.upstream.host}:${stage.upstream.port} {
		transport http {
			keepalive 2m
			keepalive_idle_conns 256
			keepalive_idle_conns_per_host 256
		}
	}
}
`,
    )
    return {
      argv: ['caddy', 'run', '--config', file, '--adapter', 'caddyfile'],
      env: { GOMAXPROCS: '1', HOME: stage.dir, XDG_DATA_HOME: stage.dir, XDG_CONFIG_HOME: stage.dir },
    }
  },
}
