"use strict";
document.getElementById("post-ticket").submit();
