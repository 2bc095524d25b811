using System;
using System.Collections.Generic;
using System.Formats.Tar;
using System.IO;
using System.IO.Compression;
using System.Reflection;
using System.Security.Cryptography;
using System.Threading.Tasks;
using Microsoft.AspNetCore.Http;

namespace XenDM.Web.Http;

/// <summary>The pages, their style and scripts, and noVNC, all of which the program carries.</summary>
public sealed class Assets
{
    /// <summary>The name that files have inside an npm package.</summary>
    private const string PackageFolder = "package/";

    private readonly Dictionary<string, Asset> _files = [];

    private sealed record Asset(byte[] Bytes, string Type, string Tag);

    public Assets()
    {
        var assembly = typeof(Assets).Assembly;
        foreach (var name in assembly.GetManifestResourceNames())
        {
            if (!name.StartsWith("wwwroot/", StringComparison.Ordinal)) continue;
            using var stream = assembly.GetManifestResourceStream(name)!;
            Add(name["wwwroot/".Length..], Read(stream));
        }

        AddNoVnc(assembly);
    }

    /// <summary>Paths without the slash at the start.</summary>
    public IReadOnlyCollection<string> Names => _files.Keys;

    /// <summary>Sends a file; a browser that has it is told so.</summary>
    public Task Send(HttpContext context, string path)
    {
        var response = context.Response;
        if (!_files.TryGetValue(path, out var asset))
        {
            response.StatusCode = StatusCodes.Status404NotFound;
            return Task.CompletedTask;
        }

        response.Headers.ETag = asset.Tag;
        response.Headers.CacheControl = "private, no-cache";
        if (context.Request.Headers.IfNoneMatch == asset.Tag)
        {
            response.StatusCode = StatusCodes.Status304NotModified;
            return Task.CompletedTask;
        }

        response.ContentType = asset.Type;
        response.ContentLength = asset.Bytes.Length;
        return HttpMethods.IsHead(context.Request.Method) ? Task.CompletedTask : response.Body.WriteAsync(asset.Bytes).AsTask();
    }

    /// <summary>The package as npm has it; its libraries and licences are served.</summary>
    private void AddNoVnc(Assembly assembly)
    {
        using var unzipped = new GZipStream(assembly.GetManifestResourceStream("novnc.tgz")!, CompressionMode.Decompress);
        using var tar = new TarReader(unzipped);
        while (tar.GetNextEntry() is { } entry)
        {
            if (entry.DataStream is null || !entry.Name.StartsWith(PackageFolder, StringComparison.Ordinal)) continue;
            var name = entry.Name[PackageFolder.Length..];
            var isCode = name.EndsWith(".js", StringComparison.Ordinal) && (name.StartsWith("core/", StringComparison.Ordinal) || name.StartsWith("vendor/", StringComparison.Ordinal));
            if (isCode || name.Contains("LICENSE", StringComparison.Ordinal)) Add("novnc/" + name, Read(entry.DataStream));
        }
    }

    private void Add(string name, byte[] bytes)
    {
        var type = Path.GetExtension(name) switch
        {
            ".html" => "text/html; charset=utf-8",
            ".css" => "text/css; charset=utf-8",
            ".js" => "text/javascript; charset=utf-8",
            ".svg" => "image/svg+xml",
            _ => "text/plain; charset=utf-8",
        };
        _files[name] = new Asset(bytes, type, $"\"{Convert.ToHexStringLower(SHA256.HashData(bytes).AsSpan(0, 12))}\"");
    }

    private static byte[] Read(Stream stream)
    {
        var copy = new MemoryStream();
        stream.CopyTo(copy);
        return copy.ToArray();
    }
}
