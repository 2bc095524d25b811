using System;
using System.IO;
using System.Security.Cryptography;
using System.Text;
using System.Threading.Tasks;
using Microsoft.AspNetCore.Http;
using Microsoft.Net.Http.Headers;

namespace XenDM.Web.Http;

/// <summary>
/// Who may in. The token comes in the address once and is a cookie from then on, or it comes as <c>Authorization: Bearer</c> from a program. What
/// changes something, and the screen, also need an Origin that is this server, so that no other page can use the browser's cookie.
/// </summary>
public sealed class Access
{
    private const int TokenBytes = 16;
    private const string Bearer = "Bearer ";
    private readonly byte[] _token;

    public Access(string token)
    {
        Token = token;
        _token = Encoding.UTF8.GetBytes(token);
    }

    /// <summary>32 hexadecimal digits, or what the token file has.</summary>
    public string Token { get; }

    /// <summary>Cookies are not told apart by port, so the name does it.</summary>
    public int Port { get; set; }

    private string CookieName => $"xendm-web-{Port}";

    /// <summary>128 random bits.</summary>
    public static string NewToken() => Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(TokenBytes));

    /// <summary>The token in a file that only its owner may read, which is made where it is not there.</summary>
    /// <exception cref="UsageException">The file cannot be used.</exception>
    public static string FromFile(string path)
    {
        const UnixFileMode others = UnixFileMode.GroupRead | UnixFileMode.GroupWrite | UnixFileMode.OtherRead | UnixFileMode.OtherWrite;
        try
        {
            if (!File.Exists(path))
            {
                var made = NewToken();
                using var file = new FileStream(path, new FileStreamOptions { Mode = FileMode.CreateNew, Access = FileAccess.Write, UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite });
                file.Write(Encoding.ASCII.GetBytes(made + "\n"));
                return made;
            }

            if ((File.GetUnixFileMode(path) & others) != 0) throw new UsageException("--token-file", $"'{path}' may be read by others; chmod 600 keeps it secret");
            var token = File.ReadAllText(path).Trim();
            foreach (var c in token)
                if (!char.IsAsciiLetterOrDigit(c) && c is not ('-' or '_')) throw new UsageException("--token-file", $"'{path}': a token has letters, digits, - and _ only");
            return token.Length >= 16 ? token : throw new UsageException("--token-file", $"'{path}': a token has at least 16 characters");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new UsageException("--token-file", $"'{path}': {e.Message}");
        }
    }

    /// <summary>The middleware in front of everything.</summary>
    public Task Check(HttpContext context, RequestDelegate next)
    {
        var request = context.Request;
        AddHeaders(context.Response.Headers);
        if (HttpMethods.IsGet(request.Method) && request.Query.TryGetValue("token", out var given))
        {
            if (!IsToken(given.ToString())) return Refuse(context, StatusCodes.Status403Forbidden, "This token is not valid. The address with the right one was printed when xendm-web was started.");
            context.Response.Cookies.Append(CookieName, Token, new CookieOptions { HttpOnly = true, SameSite = Microsoft.AspNetCore.Http.SameSiteMode.Strict, Secure = request.IsHttps, Path = "/" });
            // The token does not stay in the address, where others see it and where it would be kept in the history.
            context.Response.StatusCode = StatusCodes.Status303SeeOther;
            context.Response.Headers.Location = request.Path.ToUriComponent();
            return Task.CompletedTask;
        }

        var authorization = request.Headers.Authorization.ToString();
        var byProgram = authorization.StartsWith(Bearer, StringComparison.OrdinalIgnoreCase) && IsToken(authorization[Bearer.Length..].Trim());
        if (!byProgram && !(request.Cookies.TryGetValue(CookieName, out var cookie) && IsToken(cookie)))
            return Refuse(context, StatusCodes.Status401Unauthorized, "Open the address that was printed when xendm-web was started: the token in it is needed once.");
        var changes = !HttpMethods.IsGet(request.Method) && !HttpMethods.IsHead(request.Method);
        if ((changes || context.WebSockets.IsWebSocketRequest || request.Headers.Origin.Count > 0) && !IsOwnOrigin(request, mayBeMissing: byProgram))
            return Refuse(context, StatusCodes.Status403Forbidden, "This request comes from another page.");
        return next(context);
    }

    private bool IsToken(string text) => CryptographicOperations.FixedTimeEquals(Encoding.UTF8.GetBytes(text), _token);

    /// <summary>Host and port are compared; behind a proxy that speaks TLS the scheme is another one.</summary>
    private static bool IsOwnOrigin(HttpRequest request, bool mayBeMissing)
    {
        var origin = request.Headers.Origin;
        if (origin.Count == 0) return mayBeMissing;
        return origin.Count == 1 && Uri.TryCreate(origin[0], UriKind.Absolute, out var uri) && uri.Scheme is "http" or "https"
            && string.Equals(uri.Authority, request.Host.Value, StringComparison.OrdinalIgnoreCase);
    }

    private static void AddHeaders(IHeaderDictionary headers)
    {
        headers[HeaderNames.ContentSecurityPolicy] =
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
        headers[HeaderNames.XContentTypeOptions] = "nosniff";
        headers[HeaderNames.XFrameOptions] = "DENY";
        headers["Referrer-Policy"] = "no-referrer";
        headers["Cross-Origin-Opener-Policy"] = "same-origin";
        headers["Cross-Origin-Resource-Policy"] = "same-origin";
        headers[HeaderNames.CacheControl] = "no-store";
    }

    private static Task Refuse(HttpContext context, int status, string why)
    {
        context.Response.StatusCode = status;
        context.Response.ContentType = "text/plain; charset=utf-8";
        return context.Response.WriteAsync(why + "\n");
    }
}
