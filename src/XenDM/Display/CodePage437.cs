namespace XenDM.Display;

/// <summary>The characters of the IBM PC's fonts as Unicode.</summary>
internal static class CodePage437
{
    private const string Low = " ☺☻♥♦♣♠•◘○◙♂♀♪♫☼►◄↕‼¶§▬↨↑↓→←∟↔▲▼";
    private const string High =
        "ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒáíóúñÑªº¿⌐¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■\u00a0";

    /// <summary>The character of a code; all of them are in the basic plane and one column wide.</summary>
    public static char ToUnicode(byte code) => code switch
    {
        < 0x20 => Low[code],
        0x7f => '⌂',
        < 0x7f => (char)code,
        0xff => ' ',
        _ => High[code - 0x80],
    };
}
