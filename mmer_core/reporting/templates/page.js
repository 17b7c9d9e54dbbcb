(function () {
  var root = document.documentElement, button = document.getElementById("theme");
  var system = matchMedia("(prefers-color-scheme: dark)");
  function dark() { return (root.dataset.theme || (system.matches ? "dark" : "light")) === "dark"; }
  function label() { button.textContent = dark() ? "Light" : "Dark"; }
  button.hidden = false;
  button.onclick = function () { root.dataset.theme = dark() ? "light" : "dark"; label(); };
  system.addEventListener("change", label);
  addEventListener("beforeprint", function () {
    document.querySelectorAll("details").forEach(function (one) { one.open = true; });
  });
  label();
})();
