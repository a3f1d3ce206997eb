// Runs in any browser, however old: starts the page, or says in one line why it cannot work there.
(function () {
  "use strict";
  var line = document.getElementById("status");
  function say(text) {
    line.textContent = text;
    line.className = "trouble";
    line.setAttribute("role", "alert");
    document.documentElement.setAttribute("data-state", "failed");
  }
  if (location.protocol === "file:") {
    say("This page has to come from a web server. In its folder, run: python -m http.server, and open http://localhost:8000");
  } else if (typeof WebAssembly !== "object") {
    say("This browser has no WebAssembly, or it is switched off, and the answer is computed with it. A browser of the last few years has it.");
  } else if (typeof DecompressionStream !== "function" || typeof createImageBitmap !== "function") {
    say("This browser is too old for this page. One of the last two years works.");
  } else {
    line.textContent = "Loading the classifier …";
    var script = document.createElement("script");
    script.type = "module";
    script.src = "app.js";
    script.onerror = function () { say("A part of this page could not be loaded. Please load it again."); };
    document.body.appendChild(script);
  }
})();
