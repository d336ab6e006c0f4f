import { defineConfig } from "vite";

// The Go package embeds ../dist. `npm run dev` serves the page with hot reload and asks a dashboard that
// runs already, on port 8080, for everything under /api.
export default defineConfig({
  base: "./",
  build: {
    outDir: "../dist",
    emptyOutDir: true,
    target: "es2022",
    assetsInlineLimit: 0, // the page's Content-Security-Policy allows nothing inline
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
  },
  server: { host: "127.0.0.1", proxy: { "/api": "http://127.0.0.1:8080" } },
});
