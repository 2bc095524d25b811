using System;
using System.Linq;
using System.Net;
using System.Net.Http;
using System.Security.Cryptography;
using System.Text.RegularExpressions;
using System.Threading.Tasks;
using XenDM.Web.Http;

namespace XenDM.Web.Tests;

public sealed partial class AssetsTests
{
    /// <summary>dist.integrity of @novnc/novnc 1.7.0 in the npm registry.</summary>
    private const string NoVncSha512 = "ucEJOx4T2avIRCleodk7YobZj5O2Ga2AeLfQ69A/yjG9HHba2+PDgwSkN3FttrmG+70ZGx21sElNFouK13RzyA==";

    [Fact]
    public void NoVnc_is_the_package_that_npm_has()
    {
        using var package = typeof(WebServer).Assembly.GetManifestResourceStream("novnc.tgz")!;
        Assert.Equal(NoVncSha512, Convert.ToBase64String(SHA512.HashData(package)));
        var names = new Assets().Names;
        Assert.Contains("novnc/core/rfb.js", names);
        Assert.Contains("novnc/vendor/pako/lib/zlib/inflate.js", names);
        Assert.Contains("novnc/LICENSE.txt", names);
        Assert.Contains("novnc/docs/LICENSE.MPL-2.0", names);
        Assert.Contains("novnc/vendor/pako/LICENSE", names);
    }

    /// <summary>Every file that a page, a style or a script names is there, and nothing is from elsewhere or inline.</summary>
    [Fact]
    public async Task Pages_have_all_that_they_name_and_name_nothing_else()
    {
        await using var bench = await new WebBench().Start();
        foreach (var page in (string[])["/", "/guest/a", "/assets/list.js", "/assets/guest.js", "/assets/api.js", "/assets/keys.js", "/assets/style.css"])
        {
            var text = await bench.Program.GetStringAsync(page);
            foreach (var path in Reference().Matches(text).Select(static m => m.Groups[1].Value)) Assert.Equal(HttpStatusCode.OK, (await bench.Program.GetAsync(path)).StatusCode);
            Assert.DoesNotContain("//cdn", text, StringComparison.Ordinal);
            if (!page.EndsWith(".js", StringComparison.Ordinal)) Assert.DoesNotMatch(Inline(), text);
        }
    }

    [Fact]
    public async Task A_browser_that_has_a_file_is_not_sent_it_again()
    {
        await using var bench = await new WebBench().Start();
        using var first = await bench.Program.GetAsync("/novnc/core/rfb.js");
        Assert.Equal("text/javascript", first.Content.Headers.ContentType!.MediaType);
        using var request = new HttpRequestMessage(HttpMethod.Get, "/novnc/core/rfb.js") { Headers = { IfNoneMatch = { first.Headers.ETag! } } };
        using var second = await bench.Program.SendAsync(request);
        Assert.Equal(HttpStatusCode.NotModified, second.StatusCode);
        foreach (var path in (string[])["/novnc/../../etc/passwd", "/assets/%2e%2e/%2e%2e/etc/passwd", "/assets/", "/novnc/package.json"])
            Assert.Equal(HttpStatusCode.NotFound, (await bench.Program.GetAsync(path)).StatusCode);
    }

    [GeneratedRegex("""(?:href|src|from)[= ]['"](/(?:assets|novnc)/[^'"]+)['"]""")]
    private static partial Regex Reference();

    [GeneratedRegex("""<script(?![^>]* src=)|<style|\son[a-z]+\s*=|style=|https?://|@import""")]
    private static partial Regex Inline();
}
