# One image for the web servers and for the migrations. The folder of docker-compose.yml is its context.

FROM node:22-bookworm-slim AS manifests
WORKDIR /app
# What decides which packages are installed, and nothing else: a change of the sources leaves the installed packages cached.
COPY package.json package-lock.json ./
COPY apps/web/package.json apps/web/
COPY packages/cache/package.json packages/cache/
COPY packages/near-cache/package.json packages/near-cache/
COPY packages/redis-kit/package.json packages/redis-kit/
COPY packages/session-store/package.json packages/session-store/

FROM manifests AS build
RUN npm ci --ignore-scripts --no-audit --no-fund
COPY tsconfig.base.json ./
COPY packages packages
COPY apps apps
RUN npm run build

FROM manifests AS dependencies
RUN npm ci --ignore-scripts --no-audit --no-fund --omit=dev

# Owned by root and run by another user: the server cannot change its own code.
FROM node:22-bookworm-slim
ENV NODE_ENV=production
WORKDIR /app
COPY --from=dependencies /app ./
COPY packages/cache/lua packages/cache/lua
COPY packages/near-cache/lua packages/near-cache/lua
COPY packages/session-store/lua packages/session-store/lua
COPY apps/web/src/public apps/web/src/public
COPY --from=build /app/packages/cache/dist packages/cache/dist
COPY --from=build /app/packages/near-cache/dist packages/near-cache/dist
COPY --from=build /app/packages/session-store/dist packages/session-store/dist
COPY --from=build /app/apps/web/dist apps/web/dist
USER node
EXPOSE 3000
# The exec form: no shell between node and SIGTERM.
CMD ["node", "apps/web/dist/main.js"]
