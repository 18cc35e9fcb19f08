// nginx as an expert would set it up: TLS, country check by the geoip2 module, kept-alive upstream; and the same with ModSecurity and the Core Rule Set.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import {
  CHECK_IN_PATH,
  CHECK_IN_RESPONSE,
  DOWNLOAD_BYTES,
  DOWNLOAD_PATH,
  WEBSOCKET_PATH,
} from '../load/work.ts'
import { BULK_PORT, STREAM_OFFSET } from '../load/bulk.ts'
import { INSPECTED_PATHS } from '../load/inspected.ts'
import { firstLine } from '../stage/processes.ts'
import type { Launch, Peer, Stage } from './peer.ts'

const MODULES = '/usr/lib/nginx/modules'
const GEOIP2 = `${MODULES}/ngx_http_geoip2_module.so`
const STREAM = `${MODULES}/ngx_stream_module.so`
const MODSECURITY = `${MODULES}/ngx_http_modsecurity_module.so`
const RULES = '/usr/share/modsecurity-crs/rules'
const RULES_SET_UP = '/etc/modsecurity/crs/crs-setup.conf'
const RECOMMENDED = '/etc/nginx/modsecurity.conf'
const UNICODE_MAP = '/etc/nginx/unicode.mapping'

/** Version of the installed nginx, for example `nginx/1.22.1`. */
export function nginxVersion(): string | undefined {
  return firstLine('nginx', '-v')?.replace(/^nginx version: /, '')
}

export const nginx: Peer = {
  id: 'nginx',
  work: 'TLS, country check (geoip2), proxy with kept-alive upstream',
  refuses: { foreignCountry: true, attack: false },
  version: () => (existsSync(GEOIP2) ? nginxVersion() : undefined),
  prepare: stage =>
    launch(
      stage,
      existsSync(STREAM)
        ? proxyConfig(stage, [GEOIP2, STREAM], '') + streamConfig(stage)
        : proxyConfig(stage, [GEOIP2], ''),
    ),
}

export const nginxModSecurity: Peer = {
  id: 'nginx+crs',
  work: 'the same, and ModSecurity with the Core Rule Set at paranoia level 1, SecRuleEngine On, request bodies inspected, response bodies and audit log off',
  refuses: { foreignCountry: true, attack: true },
  version: () => {
    const base = nginxVersion()
    const present = [GEOIP2, MODSECURITY, RULES, RULES_SET_UP, RECOMMENDED].every(file => existsSync(file))
    if (base === undefined || !present) return undefined
    const packages = ['libmodsecurity3', 'modsecurity-crs'].map(name => `${name} ${packageVersion(name)}`)
    return `${base} + ${packages.join(' + ')}`
  },
  prepare: stage => {
    writeFileSync(join(stage.dir, 'modsecurity.conf'), modSecurityConfig())
    const directives = `modsecurity on; modsecurity_rules_file ${join(stage.dir, 'modsecurity.conf')};`
    return launch(stage, proxyConfig(stage, [GEOIP2, MODSECURITY], directives))
  },
}

export const direct: Peer = {
  id: 'direct',
  work: 'no proxy: nginx answers by itself over TLS (orientation only)',
  refuses: { foreignCountry: false, attack: false },
  version: nginxVersion,
  prepare: stage => launch(stage, serverConfig(stage, tlsListen(stage))),
  leavesOut: { websocket: 'the WebSocket upstream has no TLS' },
}

/** Configuration of the plain upstream that all peers forward to. */
export function upstreamLaunch(stage: Stage): Launch {
  return launch(stage, serverConfig(stage, `listen 127.0.0.1:${stage.port} reuseport backlog=8192;`))
}

function launch(stage: Stage, config: string): Launch {
  const file = join(stage.dir, 'nginx.conf')
  writeFileSync(file, config)
  return { argv: ['nginx', '-p', stage.dir, '-c', file] }
}

function common(stage: Stage): string {
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
    .map(kind => `${kind}_temp_path ${stage.dir}/${kind};`)
    .join(' ')
  return `access_log off; server_tokens off; sendfile on; tcp_nopush on; tcp_nodelay on; ${temporary}
  keepalive_timeout 120s; keepalive_requests 1000000000; client_max_body_size 0; client_body_buffer_size 128k;`
}

function head(stage: Stage, modules: readonly string[]): string {
  return `${modules.map(file => `load_module ${file};`).join('\n')}
daemon off; master_process on; user root; worker_processes 1;
pid ${stage.dir}/nginx.pid; error_log ${stage.dir}/error.log error;
events { worker_connections 16384; multi_accept on; }`
}

function tlsListen(stage: Stage): string {
  return `listen ${stage.port} ssl reuseport backlog=8192;
    ssl_certificate ${stage.certFile}; ssl_certificate_key ${stage.keyFile};
    ssl_protocols TLSv1.2 TLSv1.3; ssl_session_cache shared:tls:16m; ssl_session_tickets on;`
}

function proxyConfig(stage: Stage, modules: readonly string[], directives: string): string {
  return `${head(stage, modules)}
http {
  ${common(stage)}
  geoip2 ${stage.geoFile} { $country default=ZZ source=$remote_addr country_code; }
  map $country $refused { default 1; ${stage.homeCountry} 0; }
  map $http_upgrade $connection_header { default upgrade; '' ''; }
  upstream rmm { server ${stage.upstream.host}:${stage.upstream.port}; keepalive 256; keepalive_requests 1000000000; keepalive_timeout 120s; }
  server {
    ${tlsListen(stage)}
    server_name _;
    ${directives}
    if ($refused) { return 403; }
    location / {
      proxy_pass http://rmm;
      proxy_http_version 1.1;
      proxy_set_header Host $host;
      proxy_set_header Connection $connection_header;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header X-Forwarded-For $remote_addr;
      proxy_set_header X-Forwarded-Proto https;
      proxy_buffers 8 32k; proxy_busy_buffers_size 64k; proxy_max_temp_file_size 0;
      proxy_read_timeout 1h; proxy_send_timeout 1h;
    }
  }
}
`
}

// Buffers of 16 KiB, the default, cost it more.
function streamConfig(stage: Stage): string {
  return `stream {
  server {
    listen ${stage.port + STREAM_OFFSET} reuseport backlog=8192;
    proxy_pass 127.0.0.1:${BULK_PORT};
    proxy_buffer_size 64k; proxy_timeout 1h;
  }
}
`
}

function serverConfig(stage: Stage, listen: string): string {
  const file = join(stage.dir, 'root', DOWNLOAD_PATH)
  mkdirSync(join(file, '..'), { recursive: true })
  // Not sparse zeros: a proxy that compresses or a cache that deduplicates must not look better than it is.
  if (!existsSync(file))
    writeFileSync(file, Buffer.alloc(DOWNLOAD_BYTES, 'portcullis bench package 0123456789 '))
  return `${head(stage, [])}
http {
  ${common(stage)}
  default_type application/octet-stream;
  server {
    ${listen}
    root ${stage.dir}/root;
    location = ${CHECK_IN_PATH} { default_type text/html; return 200 "${CHECK_IN_RESPONSE}"; }
    ${INSPECTED_PATHS.map(path => `location = ${path} { default_type application/json; return 200 "{}"; }`).join('\n    ')}
    location = ${WEBSOCKET_PATH} { return 404; }
  }
}
`
}

function modSecurityConfig(): string {
  const recommended = readFileSync(RECOMMENDED, 'utf8')
    .replace(/^SecRuleEngine .*$/m, 'SecRuleEngine On')
    .replace(/^SecResponseBodyAccess .*$/m, 'SecResponseBodyAccess Off')
    .replace(/^SecAuditEngine .*$/m, 'SecAuditEngine Off')
    .replace(/^SecStatusEngine .*$/m, 'SecStatusEngine Off')
    .replace(/^SecUnicodeMapFile .*$/m, `SecUnicodeMapFile ${UNICODE_MAP} 20127`)
    .replace(/^include .*$/gim, '')
  return `${recommended}\nInclude ${RULES_SET_UP}\nInclude ${RULES}/*.conf\n`
}

function packageVersion(name: string): string {
  return firstLine('dpkg-query', '-W', '-f', '${Version}', name) ?? ''
}
